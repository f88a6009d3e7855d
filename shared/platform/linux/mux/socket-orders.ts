/**
 * What the main thread and a worker say to each other about sockets that are joined to channels of a link in that worker
 * (shared/link/linked-socket.ts). For a channel that the peer opened the worker draws a number above 0, for what we open
 * the main thread one below 0; none is ever drawn twice. Descriptors that are named are the worker's from then on.
 */

import type { ByteShare } from '../../../byte-rate.ts';

interface Handed {
  readonly fd: number;
  /** It is TCP, not a unix socket. */
  readonly tcp: boolean;
  /** What was read from it already. */
  readonly early: Uint8Array;
  /** Of SharedCounters. */
  readonly counters: Float64Array;
  /** How fast bytes may pass, where there may be a limit. */
  readonly bytes: ByteShare | undefined;
}

interface Named {
  readonly link: number;
  readonly number: number;
}

/** Main thread to worker. */
export type SocketOrder =
  /** Open a channel for it. @param destination as encodeDestination has it @param details as encodeDetails has them */
  | ({
      readonly type: 'socket-connect';
      readonly destination: Uint8Array;
      readonly details: Uint8Array;
    } & Named &
      Handed)
  /** It is what that channel of the peer was to reach. */
  | ({ readonly type: 'socket-dialled' } & Named & Handed)
  /** There is none for that channel of the peer. */
  | ({ readonly type: 'socket-failed'; readonly errno: number } & Named)
  /** End it at once. */
  | ({ readonly type: 'socket-stop'; readonly errno: number } & Named);

/** Worker to main thread. */
export type SocketReport =
  /** The peer has opened a channel. Answered with as many `bytes` in `link-dealt-with`. */
  | ({
      readonly type: 'socket-wanted';
      readonly destination: Uint8Array;
      readonly details: Uint8Array;
      readonly bytes: number;
    } & Named)
  /** It is over. @param errno 0 for a clean end @param dialled whether the other side was reached */
  | ({ readonly type: 'socket-over'; readonly errno: number; readonly dialled: boolean } & Named);
