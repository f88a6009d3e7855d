import type { Socket } from 'node:net';

/** What a host port is to those who serve it, whatever engine took it. */

/** A bound and listening host socket that answers nobody until it is started. */
export interface StreamReservation {
  /** The port that was taken, also where 0 was asked for; 0 for unix sockets. */
  readonly port: number;
  /**
   * Serves from now on, first those who came since the reservation. Sockets are paused, allow half-open and belong to
   * the callee, which attaches its error listener before it returns. Call it once; after close() it does nothing.
   */
  start(onClient: (socket: Socket) => void): void;
  /** Stops listening at once and resets clients that nobody got. Accepted sockets stay the caller's. Any number of times. */
  close(): Promise<void>;
}

/** A UDP port at one address of this machine or at all of a family. */
export interface UdpReservation {
  /** The port that was taken, the same at every address, also where 0 was asked for. */
  readonly port: number;
  /** The addresses that are bound now; none after close(). */
  readonly locals: ReadonlyArray<UdpLocal>;
  /**
   * Passes datagrams on from now on; earlier ones are lost. Call it once; after close() it does nothing.
   * @param onDatagram gets the address that was written to, where the answer has to be sent from; the payload is the
   *   callee's to keep
   * @param onLocalGone an address has left the machine: sends from it are counted as errors from then on
   */
  start(
    onDatagram: (local: UdpLocal, payload: Buffer, peer: UdpPeer) => void,
    onLocalGone: (local: UdpLocal) => void,
  ): void;
  /** Frees the port; resolves when it is free. Any number of times. */
  close(): Promise<void>;
}

/** One address of this machine at one UDP port. */
export interface UdpLocal {
  /** Canonical, with its zone; what clients wrote to and what answers come from. */
  readonly address: string;
  /** Sends one datagram from this address. Never throws: what fails or finds the queue full is counted. */
  send(payload: Buffer, port: number, address: string): void;
  /** Datagrams that were not sent, and errors that the network reported for sent ones. */
  readonly sendErrors: number;
}

/** Who sent a datagram. */
export interface UdpPeer {
  /** With its zone when it is link-local. */
  readonly address: string;
  readonly port: number;
}
