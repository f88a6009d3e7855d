/** What the main thread of the host agent and its workers say to each other about UDP forwards. */

import type { ByteShare } from '../../../shared/byte-rate.ts';
import type { LimitShare } from '../../../shared/limit.ts';

export interface DatagramForwardOrder {
  readonly id: number;
  readonly name: string;
  /** Index of the VM's flag. */
  readonly vm: number;
  /** The one worker that carries it. */
  readonly worker: number;
  /** Its bound socket, which stays the main thread's. */
  readonly fd: number;
  /** The one local address that it is bound to; empty where each datagram says it. */
  readonly local: string;
  /** As encodeDestination has it. */
  readonly destination: Uint8Array;
  /** Silence after which a flow is over, seconds; undefined for what is usual. */
  readonly flowIdle: number | undefined;
  readonly maxFlows: number;
  /** Of flows of the VM. */
  readonly flows: LimitShare;
  /** Of bytes of the VM. */
  readonly bytes: ByteShare;
  /** DATAGRAM_COUNTERS elements. */
  readonly counters: SharedArrayBuffer;
}

/**
 * How a worker gets its datagrams to the VM: on a dedicated stream of its own, over a socket to the main thread, which
 * has the link, or not at all now.
 */
export type DatagramWay = 'direct' | 'bridge' | 'none';

export type DatagramOrder =
  | { readonly type: 'udp-forward'; readonly forward: DatagramForwardOrder }
  | { readonly type: 'udp-way'; readonly id: number; readonly way: DatagramWay }
  | { readonly type: 'udp-close'; readonly id: number };

export type DatagramReport =
  /** Datagrams wait, and no link that carries dedicated streams is up. */
  | { readonly type: 'udp-ask'; readonly id: number }
  /** The main thread's end of a pair of sockets, for u32 frames. */
  | { readonly type: 'udp-bridge'; readonly id: number; readonly fd: number }
  | { readonly type: 'udp-closed'; readonly id: number };

/** What a worker counts for a UDP forward. */
export const DATAGRAM_COUNTERS = 10;
export const FLOWS = 0;
export const FLOWS_CREATED = 1;
export const FLOWS_EVICTED = 2;
export const FLOWS_EXPIRED = 3;
export const DATAGRAMS_UP = 4;
export const DATAGRAMS_DOWN = 5;
export const DATAGRAM_BYTES_UP = 6;
export const DATAGRAM_BYTES_DOWN = 7;
export const DROPPED = 8;
export const SEND_ERRORS = 9;
