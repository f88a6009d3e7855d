/**
 * Connections between a socket of this machine and a channel of a link, as the main thread sees them wherever the session
 * of the link lives. This file carries those of a session that this thread carries itself; for others see
 * platform/linux/mux/main-sockets.ts.
 */
import type { Socket } from 'node:net';
import type { Destination } from '../destination.ts';
import type { BridgeError } from '../errors.ts';
import type { Channel } from '../mux/channel.ts';
import type { MuxSession } from '../mux/session.ts';
import type { Pace } from '../pace.ts';
import { ChannelEnd } from '../relay/channel-end.ts';
import { Connection } from '../relay/connection.ts';
import { PLAIN_SOCKET, StreamEnd } from '../relay/stream-end.ts';
import type { StreamDetails } from '../stream-details.ts';
import { openChannel } from './open-channel.ts';
import type { SharedCounters } from './shared-counters.ts';

export interface LinkedSocket {
  /** Ends it at once, both sides by a reset. */
  stop(reason: BridgeError): void;
}

/** A channel that the peer has opened, until it has its socket. */
export interface OpenedChannel {
  readonly destination: Destination;
  readonly details: StreamDetails;
  /** Nobody is to be reached. To be called at once, and nothing else then. */
  refuse(reason: BridgeError): void;
  /** Relays from now on, once `dialled` has given it a socket. To be called at once. */
  link(hooks: LinkedSocketHooks): LinkedSocket & {
    /** @param socket paused, half-open allowed; it is the callee's */
    dialled(socket: Socket): void;
    dialFailed(error: BridgeError): void;
  };
}

/** What a client is to be carried to. */
export interface LinkTarget {
  readonly destination: Destination;
  readonly details: StreamDetails;
  /** Where that is, for errors. */
  readonly where: string;
}

export interface LinkedSocketHooks {
  readonly counters: SharedCounters;
  /** How fast bytes may pass, where there may be a limit. */
  readonly pace?: Pace;
  /** Everything is released; said once. @param error why, when it was not a clean end; a failed dial among it */
  closed(error: BridgeError | undefined): void;
}

/**
 * Carries a client over a channel that is opened for it.
 * @param socket paused, half-open allowed; it is the callee's
 */
export function connectHere(
  session: MuxSession,
  socket: Socket,
  { destination, details, where }: LinkTarget,
  { counters, pace, closed }: LinkedSocketHooks,
): LinkedSocket {
  const dial = new AbortController();
  const connection = new Connection(new StreamEnd(socket, PLAIN_SOCKET), {
    counters,
    pace,
    cancelDial: () => dial.abort(),
    closed,
  });
  openChannel(session, { destination, where, signal: dial.signal, ...details }).then(
    (end) => connection.dialled(end),
    (error: BridgeError) => connection.dialFailed(error),
  );
  return connection;
}

/** A channel of a session that this thread carries. */
export class ChannelHere implements OpenedChannel {
  readonly destination: Destination;
  readonly details: StreamDetails;
  private readonly channel: Channel;

  constructor(channel: Channel) {
    this.channel = channel;
    this.destination = channel.destination;
    this.details = channel.details;
  }

  refuse({ errno }: BridgeError): void {
    this.channel.refuse(errno);
  }

  link({ counters, pace, closed }: LinkedSocketHooks): ReturnType<OpenedChannel['link']> {
    const { channel } = this;
    const end = new ChannelEnd();
    end.bind(channel);
    channel.handler = end.events();
    const connection = new Connection(end, { counters, pace, cancelDial() {}, closed });
    return {
      stop: (reason) => connection.stop(reason),
      dialled: (socket) => connection.dialled(new StreamEnd(socket, PLAIN_SOCKET)),
      dialFailed: (error) => connection.dialFailed(error),
    };
  }
}
