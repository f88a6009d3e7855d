/** What the main thread of the VM shim and its workers say to each other, besides StreamOrder and StreamReport. */
import type { LimitShare } from '../../../shared/limit.ts';
import type { StreamOrder, StreamReport } from '../../../shared/platform/linux/messages.ts';
import type { LinkOrder, LinkReport } from '../../../shared/platform/linux/mux/link-orders.ts';
import type { PeerCids } from '../../../shared/transport/peer-cids.ts';

export interface ListenOrder {
  readonly fd: number;
  /** Of its socket address. */
  readonly family: number;
  /** Who may connect, where the family tells. */
  readonly peers: PeerCids;
  /** Streams of others; one cell that all threads share. */
  readonly refused: Int32Array;
}

/** All workers together keep `count` streams open and unused that begin with `head`. */
export interface SparesOrder {
  /** Of their link, in hex. */
  readonly key: string;
  readonly head: Uint8Array;
  /** Encoded, of the transport. */
  readonly sockaddr: Uint8Array;
  readonly count: number;
}

export type ShimOrder =
  | StreamOrder
  | LinkOrder
  | { readonly type: 'listen'; readonly listener: ListenOrder }
  /** No more streams; answered by `deaf`. */
  | { readonly type: 'unlisten' }
  /**
   * Streams that carry this key, in hex, are of this instance of the host agent; with `udpFlows` those for datagrams
   * have u32 frames.
   */
  | { readonly type: 'key'; readonly key: string; readonly owner: number; readonly udpFlows: boolean }
  | { readonly type: 'key-gone'; readonly key: string }
  | { readonly type: 'spares'; readonly spares: SparesOrder }
  /** The link of that key is over. */
  | { readonly type: 'spares-over'; readonly key: string };

export type ShimReport =
  | StreamReport
  | LinkReport
  /** A stream that is the main thread's now: a link, or datagrams in u16 frames. `bytes` were read from it. */
  | { readonly type: 'stream'; readonly fd: number; readonly bytes: Uint8Array }
  | { readonly type: 'deaf' };

/** Memory that all threads see. */
export interface ShimShared {
  /** Of connections of the whole shim. */
  readonly limit: LimitShare;
  /** `--allow-destination`; undefined where all is allowed. */
  readonly allowed: readonly string[] | undefined;
  /** For each worker the connections it has, to give them back when it dies. */
  readonly active: Int32Array;
}
