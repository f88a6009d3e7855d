/**
 * From the host to a destination behind the VM: opens a connection over the lane of the VM's link and answers
 * once the shim has said whether it reached the destination. Waiting for that costs a round trip, and buys
 * that a client is never told anything before its container is there.
 */
import type { Socket } from 'node:net';
import { type Destination, describeDestination } from '../../shared/destination.ts';
import { BridgeError, ERRNO, type ErrorCode, errnoName } from '../../shared/errors.ts';
import { dedicatedEnd } from '../../shared/link/dedicated-end.ts';
import type { Link } from '../../shared/link/link.ts';
import type { PeerStreams } from '../../shared/link/peer-streams.ts';
import { readHead } from '../../shared/link/read-head.ts';
import { decodeResult, encodePreface, RESULT_BYTES } from '../../shared/preface.ts';
import { ChannelEnd } from '../../shared/relay/channel-end.ts';
import type { End } from '../../shared/relay/end.ts';
import { encodeDetails, type StreamDetails } from '../../shared/stream-details.ts';
import type { Lane } from '../../shared/transport/choose.ts';

/** How long the shim may take to answer, milliseconds: more than the time that it gives a container. */
const ANSWER_MS = 20_000;

/** A link that is up, with what belongs to it. */
export interface ActiveLink {
  readonly link: Link;
  readonly streams: PeerStreams;
  readonly lane: Lane;
  /** Opens another stream to the shim. */
  dial(signal: AbortSignal): Promise<Socket>;
  /** A number for a dedicated stream that no living one has. */
  nextStreamId(): number;
}

/** Where data finds the link of a VM. */
export interface LinkSource {
  /** The link, waiting a few seconds for one that is down. @throws BridgeError NO_LINK or CANCELLED */
  whenUp(signal: AbortSignal): Promise<ActiveLink>;
}

export interface TunnelRequest extends StreamDetails {
  readonly destination: Destination;
  readonly signal: AbortSignal;
}

/**
 * Opens a connection to a destination.
 * @throws BridgeError DIAL_REFUSED, DIAL_TIMEOUT, DIAL_FAILED, LIMIT_REACHED, LINK_LOST, CANCELLED
 */
export function openTunnel(active: ActiveLink, request: TunnelRequest): Promise<End> {
  return active.lane === 'dedicated' ? openStream(active, request) : openChannel(active, request);
}

/**
 * Dials a destination, and lets it go at once.
 * @throws as openTunnel; UNSUPPORTED where the shim does not tell what became of a dial, as a vpnkit
 */
export async function probeTunnel(active: ActiveLink, request: TunnelRequest): Promise<void> {
  if (active.lane === 'multiplexed' && !active.link.has('dial-result'))
    throw new BridgeError(
      'UNSUPPORTED',
      'the shim is a vpnkit, which does not tell whether a container listens',
    );
  const end = await openTunnel(active, request);
  end.reset(new BridgeError('CANCELLED', 'it was only to be seen whether somebody listens'));
}

/** The error for what the shim says of a dial. */
export function dialError(destination: Destination, errno: number): BridgeError {
  const code = CODE_OF_ERRNO.get(errno) ?? 'DIAL_FAILED';
  return new BridgeError(code, `${describeDestination(destination)} in the VM: ${errnoName(errno)}`, {
    errno,
  });
}

async function openStream(active: ActiveLink, request: TunnelRequest): Promise<End> {
  const { destination, signal } = request;
  const { link, streams } = active;
  const socket = await active.dial(signal);
  const streamId = active.nextStreamId();
  socket.write(encodePreface({ ...request, streamId, streamKey: link.streamKey }));
  let errno: number;
  try {
    errno = await readHead(socket, decodeResult, {
      what: 'answer to the stream preface',
      maxBytes: RESULT_BYTES,
      timeoutMs: ANSWER_MS,
      signal,
    });
  } catch (error) {
    // The shim may be about to say yes: it must not take our close for an end.
    const reason = error instanceof BridgeError ? error : new BridgeError('IO', 'internal error');
    dedicatedEnd({ socket, streamId, streams, answers: false }).reset(reason);
    throw error;
  }
  if (errno !== 0) {
    socket.destroy();
    throw dialError(destination, errno);
  }
  return dedicatedEnd({ socket, streamId, streams, answers: false });
}

function openChannel(active: ActiveLink, request: TunnelRequest): Promise<End> {
  const { destination, signal } = request;
  const { session } = active.link;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(cancelled(destination));
    const end = new ChannelEnd();
    const fail = (error: BridgeError): void => {
      settle();
      reject(error);
    };
    const cancel = (): void => {
      channel.reset(ERRNO.ECANCELED);
      fail(cancelled(destination));
    };
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
    };
    const timer = setTimeout(() => {
      channel.reset(ERRNO.ETIMEDOUT);
      fail(dialError(destination, ERRNO.ETIMEDOUT));
    }, ANSWER_MS);
    signal.addEventListener('abort', cancel, { once: true });
    let channel: ReturnType<typeof session.open>;
    try {
      const handler = {
        ...end.events(),
        dialResult: (errno: number) => {
          settle();
          if (errno === 0) resolve(end);
          else reject(dialError(destination, errno));
        },
        reset: (errno: number) => {
          fail(dialError(destination, errno)); // nothing happens when the dial is over already
          end.aborted(errno);
        },
      };
      channel = session.open(destination, handler, encodeDetails(request));
    } catch (error) {
      return fail(error as BridgeError);
    }
    end.bind(channel);
    if (!session.dialResults) {
      settle();
      resolve(end); // a vpnkit peer never says; a failed dial is a Close later
    }
  });
}

const CODE_OF_ERRNO = new Map<number, ErrorCode>([
  [ERRNO.ECONNREFUSED, 'DIAL_REFUSED'],
  [ERRNO.ETIMEDOUT, 'DIAL_TIMEOUT'],
  [ERRNO.ENOBUFS, 'LIMIT_REACHED'],
  [ERRNO.ECONNABORTED, 'LINK_LOST'],
]);

function cancelled(destination: Destination): BridgeError {
  return new BridgeError('CANCELLED', `dialling ${describeDestination(destination)} was cancelled`);
}
