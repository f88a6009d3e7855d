/** What the main thread and the worker of the bridge say to each other. */
import type { PeerCids } from '../../../transport/peer-cids.ts';
import type { StreamReport } from '../messages.ts';

export interface BridgeListenOrder {
  readonly id: number;
  /** The main thread's. */
  readonly fd: number;
  readonly peers: PeerCids;
  /** Streams of strangers; one cell that all threads share. */
  readonly refused: Int32Array;
}

export type BridgeOrder =
  /** Both descriptors are the worker's from now on: a stream, and one end of a pair of unix sockets. */
  | { readonly type: 'adopt'; readonly stream: number; readonly near: number }
  | { readonly type: 'device'; readonly device: number; readonly near: number }
  | { readonly type: 'dial'; readonly id: number; readonly sockaddr: Uint8Array }
  | { readonly type: 'cancel'; readonly id: number }
  | { readonly type: 'listen'; readonly listener: BridgeListenOrder }
  /** Answered by `deaf`. */
  | { readonly type: 'unlisten'; readonly id: number }
  | { readonly type: 'stop' };

/** `near` is the end of a pair that is the main thread's from now on. */
export type BridgeReport =
  | StreamReport
  | { readonly type: 'dialled'; readonly id: number; readonly near: number }
  | { readonly type: 'dial-failed'; readonly id: number; readonly errno: number }
  | { readonly type: 'accepted'; readonly id: number; readonly near: number }
  | { readonly type: 'deaf'; readonly id: number };
