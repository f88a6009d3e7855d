/** What load is made with, on either of two drivers: epoll through the Linux platform layer, or node:net and node:dgram. */

/** One TCP connection. */
export interface Connection {
  /** Queues a few bytes, which are copied. */
  write(bytes: Buffer): void;
  /** Sends zeros as fast as they are taken, until `stopFlood`. */
  flood(): void;
  /** @returns how many zeros have been taken, or will be before what is written next */
  stopFlood(): number;
  /** Half-closes behind what is queued. */
  end(): void;
  /** Closes at once; nothing is told about this connection any more. */
  close(): void;
}

export interface ConnectionHandler {
  opened?(connection: Connection): void;
  /** @param bytes what came is its first `length` bytes; valid during the call only */
  received(connection: Connection, bytes: Buffer, length: number): void;
  /** The peer has half-closed. */
  ended(connection: Connection): void;
  /** It broke, and has been closed. */
  failed(why: string): void;
}

/**
 * A datagram came; valid during the call only.
 * @returns true to send it, as it is after the call, to where it came from
 */
export type DatagramHandler = (bytes: Buffer, length: number) => boolean;

/** One UDP socket. */
export interface Datagrams {
  /** Sends a datagram so many times. @returns how many the kernel has taken */
  send(bytes: Buffer, times: number): number;
  close(): void;
}

/** Sockets on loopback, and the loop that serves them. */
export interface Network {
  /** Which driver it is. */
  readonly name: 'epoll' | 'node';
  listen(ip: string, port: number, accepted: (connection: Connection) => ConnectionHandler): Promise<void>;
  connect(port: number, handler: ConnectionHandler): Connection;
  bindDatagrams(ip: string, port: number, handler: DatagramHandler): Promise<Datagrams>;
  connectDatagrams(port: number, handler: DatagramHandler): Promise<Datagrams>;
  /** Calls back after so many milliseconds; 0 is as soon as everybody else had a turn. */
  after(ms: number, call: () => void): void;
  /** Serves until `stop`. What `after` still holds is forgotten then. */
  run(): Promise<void>;
  stop(): void;
}

/** The largest datagram that anybody here sends. */
export const MAX_DATAGRAM = 2048;
/** What one read or one write moves at the most. */
export const BLOCK = 256 * 1024;
/** Room for datagrams in the sockets of load and backend, so that what is lost is lost by the forwarder. */
export const DATAGRAM_BUFFER = 4 * 1024 * 1024;
