import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { UdpLocal, UdpPeer } from './reservation.ts';
import { allowWholeDatagrams } from './whole-datagrams.ts';

/** Room for a burst while the event loop is busy; the kernel gives what its limits allow (net.core.rmem_max). */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** What libuv may hold of datagrams that the kernel did not take. */
const MAX_QUEUED_BYTES = 1024 * 1024;

/** A bound socket of node:dgram. Whoever bound it closes it. */
export class UdpLocalSocket implements UdpLocal {
  readonly address: string;
  readonly port: number;
  sendErrors = 0;
  private readonly socket: Socket;
  private closing: Promise<void> | undefined;
  /** One for all sends, so that a datagram costs no closure. */
  private readonly onSent = (error: Error | null): void => {
    if (error !== null) this.sendErrors++;
  };

  private constructor(address: string, socket: Socket) {
    this.address = address;
    this.socket = socket;
    this.port = socket.address().port;
    socket.on('error', () => {
      this.sendErrors++;
    });
  }

  /**
   * Binds without SO_REUSEADDR, with which another process could take the same port on Linux, and for IPv6 only.
   * @param port 0 takes any free one
   * @throws the errors of bind(2) as Node gives them
   */
  static async bind(address: string, port: number): Promise<UdpLocalSocket> {
    const family = address.includes(':') ? 6 : 4;
    const socket = createSocket({
      type: `udp${family}`,
      reuseAddr: false,
      ipv6Only: family === 6,
      // Node looks every address up for every datagram; these are addresses already.
      lookup: (host, _options, done) => done(null, host, family),
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ address, port, exclusive: true }, () => {
        socket.off('error', reject);
        resolve();
      });
    }).catch((error: unknown) => {
      socket.close();
      throw error;
    });
    try {
      socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
    } catch {
      // It works with the system's own size too.
    }
    allowWholeDatagrams(socket);
    return new UdpLocalSocket(address, socket);
  }

  /** Passes datagrams on from now on; those before are lost, as on a port that nobody serves yet. Call it once. */
  receive(onDatagram: (local: UdpLocal, payload: Buffer, peer: UdpPeer) => void): void {
    this.socket.on('message', (payload: Buffer, peer: RemoteInfo) => {
      if (this.closing === undefined) onDatagram(this, payload, peer);
    });
  }

  send(payload: Buffer, port: number, address: string): void {
    if (this.closing !== undefined || this.socket.getSendQueueSize() > MAX_QUEUED_BYTES) {
      this.sendErrors++;
      return;
    }
    try {
      this.socket.send(payload, port, address, this.onSent);
    } catch {
      this.sendErrors++;
    }
  }

  close(): Promise<void> {
    this.closing ??= new Promise((resolve) => this.socket.close(() => resolve()));
    return this.closing;
  }
}
