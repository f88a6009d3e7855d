import type { Socket } from 'node:net';
import { BridgeError, errnoName } from '../errors.ts';
import { encodeResult } from '../preface.ts';
import { StreamEnd } from '../relay/stream-end.ts';
import type { PeerStreams } from './peer-streams.ts';

/** How long an aborted or refused stream is kept open and silent for its peer to close it, milliseconds. */
const LINGER_MS = 2_000;

export interface DedicatedStream {
  readonly socket: Socket;
  readonly streamId: number;
  readonly streams: PeerStreams;
  /** True on the side that was dialled: it owes the answer to the preface. */
  readonly answers: boolean;
}

/**
 * The end of a dedicated stream behind its preface. An abort is said over the link first; then the stream is
 * kept open and silent until the peer has closed it, because an end that overtook the message would pass for
 * a clean one.
 */
export function dedicatedEnd({ socket, streamId, streams, answers }: DedicatedStream): StreamEnd {
  const end = new StreamEnd(socket, {
    // We never close both directions of a stream whose other end has not ended: who does has died.
    probesEnd: () => true,
    confirmEnd: () => streams.confirmEnd(),
    abort: (_socket, reason) => {
      socket.resume(); // what still comes is dropped, so that the peer's close is seen
      void streams.announceReset(streamId, reason.errno).then(() => linger(socket));
    },
    ...(answers && {
      accept: () => void socket.write(encodeResult(0)),
      refuse: (_socket: Socket, reason: BridgeError) => {
        socket.end(encodeResult(reason.errno));
        linger(socket);
      },
    }),
  });
  socket.on('close', () => streams.remove(streamId));
  const early = streams.add(streamId, (errno) => end.aborted(resetByPeer(errno)));
  if (early !== undefined) end.aborted(resetByPeer(early));
  return end;
}

function resetByPeer(errno: number): BridgeError {
  return new BridgeError('RESET', `the connection was reset behind the link (${errnoName(errno)})`, {
    errno,
  });
}

/** Destroys the socket when the peer has closed it, or after LINGER_MS. */
function linger(socket: Socket): void {
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  const done = (): void => {
    clearTimeout(timer);
    socket.destroy();
  };
  socket.on('end', done);
  socket.on('close', () => clearTimeout(timer));
  socket.resume();
}
