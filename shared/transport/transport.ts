import type { Socket } from 'node:net';

/** What a transport is able to do; the lane of a connection is chosen from this alone. */
export interface TransportTraits {
  /** More than one stream can be opened. */
  readonly manyStreams: boolean;
  /** One direction can end while the other goes on, and both sides see it so. */
  readonly halfClose: boolean;
  /** Which side of the VM boundary is able to open a stream. */
  readonly whoDials: 'host' | 'vm' | 'both';
}

/** Opens streams to one address. */
export interface Dialer {
  readonly url: string;
  readonly traits: TransportTraits;
  /** @throws BridgeError naming the address and why; NO_LINK when nobody listens there */
  dial(signal: AbortSignal): Promise<Socket>;
}

/** Accepts streams on one address until closed. */
export interface StreamListener {
  /** With the port resolved where 0 was asked. */
  readonly url: string;
  readonly traits: TransportTraits;
  close(): Promise<void>;
}
