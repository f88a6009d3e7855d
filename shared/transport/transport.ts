import type { Duplex } from 'node:stream';

/** What a transport is able to do; the lane of a connection is chosen from this alone. */
export interface TransportTraits {
  /** More than one stream can be opened. */
  readonly manyStreams: boolean;
  /** One direction can end while the other goes on, and both sides see it so. */
  readonly halfClose: boolean;
  /** Which side of the VM boundary is able to open a stream. */
  readonly whoDials: 'host' | 'vm' | 'both';
}

/** Opens streams to one address: sockets, where more than one can be opened. */
export interface Dialer<Stream extends Duplex = Duplex> {
  readonly url: string;
  readonly traits: TransportTraits;
  /** @throws BridgeError naming the address and why; NO_LINK when nobody listens there */
  dial(signal: AbortSignal): Promise<Stream>;
  /** What it means that a stream ends before its first byte, where that is how the transport refuses. */
  readonly refusal?: string;
}

/** Accepts streams on one address until closed. */
export interface StreamListener {
  /** With the port resolved where 0 was asked. */
  readonly url: string;
  readonly traits: TransportTraits;
  close(): Promise<void>;
}
