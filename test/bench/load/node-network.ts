/** The driver for where koffi does not load: node:net and node:dgram. It costs more, and so saturates less. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import { messageOf } from '../../../shared/errors.ts';
import {
  BLOCK,
  type Connection,
  type ConnectionHandler,
  DATAGRAM_BUFFER,
  type DatagramHandler,
  type Datagrams,
  type Network,
} from './network.ts';

const ZEROS = Buffer.alloc(BLOCK);
/** Datagrams that libuv may hold. */
const MAX_QUEUED = 256;

export class NodeNetwork implements Network {
  readonly name = 'node';
  private readonly timers = new Set<NodeJS.Timeout>();
  private stopped: () => void = () => {};

  async listen(
    host: string,
    port: number,
    accepted: (connection: Connection) => ConnectionHandler,
  ): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const connection = new NodeConnection(socket);
      connection.attach(accepted(connection));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, backlog: 4096 }, resolve);
    });
  }

  connect(port: number, handler: ConnectionHandler): Connection {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    const connection = new NodeConnection(socket);
    connection.attach(handler);
    if (handler.opened !== undefined) socket.once('connect', () => handler.opened!(connection));
    return connection;
  }

  async bindDatagrams(ip: string, port: number, handler: DatagramHandler): Promise<Datagrams> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: DATAGRAM_BUFFER });
    socket.on('message', (bytes, sender) => {
      if (handler(bytes, bytes.length)) socket.send(bytes, sender.port, sender.address);
    });
    await ready(socket, (done) => socket.bind(port, ip, done));
    return new NodeDatagrams(socket);
  }

  async connectDatagrams(port: number, handler: DatagramHandler): Promise<Datagrams> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: DATAGRAM_BUFFER });
    socket.on('message', (bytes) => {
      if (handler(bytes, bytes.length)) socket.send(bytes);
    });
    await ready(socket, (done) => socket.connect(port, '127.0.0.1', done));
    return new NodeDatagrams(socket);
  }

  after(ms: number, call: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      call();
    }, ms);
    this.timers.add(timer);
  }

  run(): Promise<void> {
    return new Promise((resolve) => {
      this.stopped = resolve;
    });
  }

  stop(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.stopped();
  }
}

class NodeConnection implements Connection {
  private readonly socket: Socket;
  private flooding = false;
  private sent = 0;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  attach(handler: ConnectionHandler): void {
    this.socket.on('data', (bytes: Buffer) => handler.received(this, bytes, bytes.length));
    this.socket.on('end', () => handler.ended(this));
    this.socket.on('error', (error) => handler.failed(messageOf(error)));
    this.socket.on('drain', () => this.push());
  }

  write(bytes: Buffer): void {
    this.socket.write(Buffer.from(bytes));
  }

  flood(): void {
    this.flooding = true;
    this.push();
  }

  stopFlood(): number {
    this.flooding = false;
    return this.sent;
  }

  end(): void {
    this.socket.end();
  }

  close(): void {
    this.flooding = false;
    this.socket.removeAllListeners();
    this.socket.on('error', () => {}); // nobody is told any more
    this.socket.destroy();
  }

  private push(): void {
    while (this.flooding) {
      this.sent += BLOCK;
      if (!this.socket.write(ZEROS)) return;
    }
  }
}

class NodeDatagrams implements Datagrams {
  private readonly socket: UdpSocket;
  private queued = 0;

  constructor(socket: UdpSocket) {
    this.socket = socket;
    socket.on('error', () => {}); // an ICMP error of an earlier datagram
  }

  send(bytes: Buffer, times: number): number {
    let sent = 0;
    for (; sent < times && this.queued < MAX_QUEUED; sent++) {
      this.queued++;
      this.socket.send(bytes, () => {
        this.queued--;
      });
    }
    return sent;
  }

  close(): void {
    this.socket.close();
  }
}

function ready(socket: UdpSocket, start: (done: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    start(() => {
      socket.off('error', reject);
      resolve();
    });
  });
}
