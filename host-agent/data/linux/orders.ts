/** What the main thread of the host agent and its workers say to each other, besides StreamOrder and StreamReport. */

import type { ByteShare } from '../../../shared/byte-rate.ts';
import type { ForwardOptions } from '../../../shared/forward-options.ts';
import type { LimitShare } from '../../../shared/limit.ts';
import type { StreamOrder, StreamReport } from '../../../shared/platform/linux/messages.ts';
import type { LinkOrder, LinkReport } from '../../../shared/platform/linux/mux/link-orders.ts';
import type { RateShare } from '../../../shared/rate-limit.ts';
import type { DatagramOrder, DatagramReport } from './datagram-orders.ts';

/** How connections reach a VM while its link is up. */
export type PathOrder = StreamPathOrder | ChannelPathOrder;

/** As channels of a link that one worker carries. */
export interface ChannelPathOrder {
  readonly lane: 'multiplexed';
  /** Counts up with every link; the VM's flag holds the one that is up. */
  readonly number: number;
  readonly worker: number;
  /** Its number in that worker. */
  readonly link: number;
}

/** On dedicated streams, which every worker opens. */
export interface StreamPathOrder {
  readonly lane: 'dedicated';
  /** Counts up with every link; the VM's flag holds the one that is up. */
  readonly number: number;
  /** Of the instance at the other end, for StreamOrder. */
  readonly owner: number;
  readonly streamKey: Uint8Array;
  /** The other end carries all datagrams of a forward on one stream. */
  readonly udpFlows: boolean;
  /** Where they are dialled, or where those are that the shim has dialled. */
  readonly via: DialledPath | SparePath;
}

export interface DialledPath {
  /** Encoded socket address of the transport. */
  readonly sockaddr: Uint8Array;
}

export interface SparePath {
  /** Of SpareCells. */
  readonly spares: Int32Array;
  /** They are TCP, not unix sockets. */
  readonly tcp: boolean;
}

export interface ForwardOrder {
  readonly id: number;
  readonly name: string;
  /** Index of the VM's flag. */
  readonly vm: number;
  readonly listenFd: number;
  /** Its clients come over TCP, not a unix socket. */
  readonly tcp: boolean;
  /** As encodeDestination has it. */
  readonly destination: Uint8Array;
  readonly settings: ForwardOptions;
  /** In which its connections count besides the agent's. */
  readonly limits: readonly LimitShare[];
  /** Of new connections of the VM. */
  readonly rate: RateShare;
  /** Of bytes of the VM. */
  readonly bytes: ByteShare;
  /** FORWARD_COUNTERS elements for each worker. */
  readonly counters: SharedArrayBuffer;
}

export type HostOrder =
  | StreamOrder
  | DatagramOrder
  | LinkOrder
  /** A client that the main thread held while the link was down. */
  | { readonly type: 'client'; readonly forward: number; readonly fd: number }
  /** Carries what comes on a descriptor, a unix socket, as a channel of a link to a destination of UDP. */
  | {
      readonly type: 'channel';
      readonly link: number;
      readonly fd: number;
      readonly destination: Uint8Array;
      readonly details: Uint8Array;
    }
  /** A spare stream of the path of that number, for a client that waits for one. */
  | { readonly type: 'spare'; readonly vm: number; readonly number: number; readonly fd: number }
  /** There are no more spare streams of that path. */
  | { readonly type: 'spares-over'; readonly vm: number; readonly number: number }
  | { readonly type: 'path'; readonly vm: number; readonly path: PathOrder }
  | { readonly type: 'forward'; readonly forward: ForwardOrder }
  /** Its listener, which was out of listening, listens again. */
  | { readonly type: 'listening'; readonly id: number }
  /** Dial that over a link of the worker, let it go at once, and answer with `probed`. */
  | {
      readonly type: 'probe';
      readonly link: number;
      readonly destination: Uint8Array;
      readonly ticket: number;
    }
  | { readonly type: 'close-forward'; readonly id: number; readonly now: boolean };

export type HostReport =
  | StreamReport
  | DatagramReport
  | LinkReport
  /** A client that has to be served on the main thread; its descriptor is the main thread's now. */
  | { readonly type: 'client'; readonly forward: number; readonly fd: number }
  /** A spare stream that nobody waits for any more; its descriptor is the main thread's now. */
  | { readonly type: 'spare'; readonly number: number; readonly fd: number }
  /** More clients wait for spare streams. */
  | { readonly type: 'spares-short'; readonly number: number }
  /** A client of a forward that waits for its container could not be served. */
  | { readonly type: 'dial-failed'; readonly forward: number; readonly errno: number }
  | { readonly type: 'probed'; readonly ticket: number; readonly errno: number }
  /** The worker will not accept on this listener any more. */
  | { readonly type: 'forward-closed'; readonly id: number };

/** Memory that all threads see. */
export interface HostShared {
  /** For each VM the number of the path that is up, 0 when its clients are the main thread's. */
  readonly paths: Int32Array;
  /** For each VM the stream id drawn last. */
  readonly streamIds: Int32Array;
  /** Of connections of the whole agent. */
  readonly limit: LimitShare;
}

export const MAX_VMS = 256;

/** What a worker counts for a forward; the first two are BYTES_UP and BYTES_DOWN of a relay. */
export const FORWARD_COUNTERS = 9;
export const ACCEPTED = 2;
export const ACTIVE = 3;
export const DIAL_FAILURES = 4;
export const RESETS = 5;
export const PAUSES = 6;
export const REFUSED = 7;
export const IDLE_TIMEOUTS = 8;
