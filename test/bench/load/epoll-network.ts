/**
 * The driver that costs little: one epoll loop in the calling thread, which is blocked while it runs. Sockets are
 * level-triggered and closed by whoever opened them.
 */
import { ERRNO, errnoName } from '../../../shared/errors.ts';
import { Arena, type Piece } from '../../../shared/platform/linux/arena.ts';
import {
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  MSG_NOSIGNAL,
} from '../../../shared/platform/linux/constants.ts';
import { UdpSockets } from '../../../shared/platform/linux/datagrams/udp-sockets.ts';
import { Epoll } from '../../../shared/platform/linux/epoll.ts';
import { EINPROGRESS, systemError } from '../../../shared/platform/linux/errno.ts';
import type { Libc } from '../../../shared/platform/linux/libc.ts';
import { encodeSockaddr } from '../../../shared/platform/linux/sockaddr.ts';
import { Sockets } from '../../../shared/platform/linux/sockets.ts';
import { EpollDatagrams } from './epoll-datagrams.ts';
import {
  BLOCK,
  type Connection,
  type ConnectionHandler,
  DATAGRAM_BUFFER,
  type DatagramHandler,
  type Datagrams,
  type Network,
} from './network.ts';

/** Reads or writes of one connection in a turn. */
const TURNS = 8;
const MAX_SLEEP_MS = 1_000;

interface Watcher {
  ready(flags: number): void;
}

export class EpollNetwork implements Network {
  readonly name = 'epoll';
  readonly libc: Libc;
  readonly sockets: Sockets;
  /** For one read. */
  readonly input: Piece;
  /** Zeros. */
  readonly zeros: Piece;
  /** For one small write. */
  readonly output: Piece;
  private readonly arena: Arena;
  private readonly epoll: Epoll;
  private readonly udp: UdpSockets;
  private readonly watchers: Array<Watcher | undefined> = [];
  private readonly generations: number[] = [];
  private generation = 0;
  private deadlines: Array<{ readonly at: number; readonly call: () => void }> = [];
  private running = false;

  constructor(libc: Libc) {
    this.libc = libc;
    this.arena = new Arena(libc, 2 * BLOCK + 256 * 1024);
    this.input = this.arena.carve(BLOCK);
    this.zeros = this.arena.carve(BLOCK);
    this.output = this.arena.carve(4096);
    this.epoll = new Epoll(libc, this.arena);
    this.sockets = new Sockets(libc, this.arena);
    this.udp = new UdpSockets(libc, this.arena);
  }

  async listen(
    ip: string,
    port: number,
    accepted: (connection: Connection) => ConnectionHandler,
  ): Promise<void> {
    const fd = this.sockets.openListener({ family: 'ip', ip, port }, `${ip}:${port}`);
    this.sockets.answer(fd);
    this.watch(fd, EPOLLIN, {
      ready: () => {
        for (;;) {
          const client = this.sockets.accept(fd);
          if (client < 0) return;
          const connection = new EpollConnection(this, client, true);
          connection.handler = accepted(connection);
        }
      },
    });
  }

  connect(port: number, handler: ConnectionHandler): Connection {
    const address = encodeSockaddr({ family: 'ip', ip: '127.0.0.1', port });
    const fd = this.sockets.open(address);
    if (fd < 0) throw systemError('socket', `127.0.0.1:${port}`, this.libc.errno());
    const status = this.sockets.connect(fd, address);
    const errno = status < 0 ? this.libc.errno() : 0;
    const connection = new EpollConnection(this, fd, false);
    connection.handler = handler;
    if (errno !== 0 && errno !== EINPROGRESS) this.after(0, () => connection.fail('connect', errno));
    return connection;
  }

  async bindDatagrams(ip: string, port: number, handler: DatagramHandler): Promise<Datagrams> {
    const options = { tellsLocal: false, bufferBytes: DATAGRAM_BUFFER };
    const fd = this.udp.bind({ ip, port }, `${ip}:${port}`, options);
    this.udp.answer(fd);
    return this.watchDatagrams(fd, handler);
  }

  async connectDatagrams(port: number, handler: DatagramHandler): Promise<Datagrams> {
    const fd = this.udp.connect(encodeSockaddr({ family: 'ip', ip: '127.0.0.1', port }), DATAGRAM_BUFFER);
    if (fd < 0) throw systemError('connect', `udp 127.0.0.1:${port}`, -fd);
    return this.watchDatagrams(fd, handler);
  }

  after(ms: number, call: () => void): void {
    this.deadlines.push({ at: performance.now() + ms, call });
  }

  async run(): Promise<void> {
    this.running = true;
    while (this.running) {
      const count = this.epoll.wait(this.sleep());
      for (let index = 0; index < count; index++) {
        const fd = this.epoll.fdAt(index);
        if (this.generations[fd] === this.epoll.generationAt(index))
          this.watchers[fd]?.ready(this.epoll.flagsAt(index));
      }
      this.callDue();
    }
    this.deadlines = [];
  }

  stop(): void {
    this.running = false;
  }

  watch(fd: number, mask: number, watcher: Watcher): void {
    this.watchers[fd] = watcher;
    this.generations[fd] = ++this.generation;
    const errno = this.epoll.add(fd, mask, this.generation);
    if (errno !== 0) throw systemError('epoll_ctl', `descriptor ${fd}`, errno);
  }

  rewatch(fd: number, mask: number): void {
    this.epoll.modify(fd, mask, this.generations[fd]!);
  }

  close(fd: number): void {
    this.watchers[fd] = undefined;
    this.generations[fd] = 0;
    this.libc.close(fd);
  }

  private watchDatagrams(fd: number, handler: DatagramHandler): Datagrams {
    const datagrams = new EpollDatagrams(this.libc, fd, handler, () => this.close(fd));
    this.watch(fd, EPOLLIN, datagrams);
    return datagrams;
  }

  private sleep(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const deadline of this.deadlines) at = Math.min(at, deadline.at);
    return Math.max(0, Math.min(MAX_SLEEP_MS, Math.ceil(at - performance.now())));
  }

  private callDue(): void {
    if (this.deadlines.length === 0) return;
    const now = performance.now();
    const due = this.deadlines.filter(({ at }) => at <= now);
    if (due.length === 0) return;
    this.deadlines = this.deadlines.filter(({ at }) => at > now);
    for (const { call } of due) call();
  }
}

class EpollConnection implements Connection, Watcher {
  handler!: ConnectionHandler;
  private readonly network: EpollNetwork;
  private fd: number;
  private connected: boolean;
  private mask: number;
  /** What the socket has not taken yet. */
  private queue: Buffer[] = [];
  private ending = false;
  private shut = false;
  private flooding = false;
  private sent = 0;
  private heardEnd = false;

  constructor(network: EpollNetwork, fd: number, connected: boolean) {
    this.network = network;
    this.fd = fd;
    this.connected = connected;
    this.mask = connected ? EPOLLIN : EPOLLOUT;
    network.watch(fd, this.mask, this);
  }

  write(bytes: Buffer): void {
    this.queue.push(Buffer.from(bytes));
    if (this.connected) this.push();
  }

  flood(): void {
    this.flooding = true;
    this.choose();
  }

  stopFlood(): number {
    this.flooding = false;
    this.choose();
    return this.sent;
  }

  end(): void {
    this.ending = true;
    if (this.connected) this.push();
  }

  close(): void {
    if (this.fd < 0) return;
    this.network.close(this.fd);
    this.fd = -1;
  }

  ready(flags: number): void {
    if (!this.connected) {
      const errno = this.network.sockets.pendingError(this.fd);
      if (errno !== 0) return this.fail('connect', errno);
      this.connected = true;
      this.handler.opened?.(this);
      return this.push();
    }
    if ((flags & (EPOLLIN | EPOLLERR | EPOLLHUP)) !== 0) this.read();
    if ((flags & EPOLLOUT) !== 0) this.push();
  }

  fail(what: string, errno: number): void {
    if (this.fd < 0) return;
    this.close();
    this.handler.failed(`${what}: ${errnoName(errno)}`);
  }

  private read(): void {
    const { libc, input } = this.network;
    for (let turn = 0; turn < TURNS && this.fd >= 0 && !this.heardEnd; turn++) {
      const count = libc.read(this.fd, input.address, BLOCK);
      if (count > 0) {
        this.handler.received(this, input.bytes, count);
        if (count < BLOCK / 4) return;
      } else if (count === 0) {
        this.heardEnd = true;
        this.settle();
        return this.handler.ended(this);
      } else {
        const errno = libc.errno();
        return errno === ERRNO.EAGAIN ? undefined : this.fail('read', errno);
      }
    }
  }

  /** Writes what it can, and half-closes when that is all. */
  private push(): void {
    const { libc, output, zeros, sockets } = this.network;
    while (this.fd >= 0 && this.queue.length > 0) {
      const first = this.queue[0]!;
      const length = first.copy(output.bytes);
      const count = libc.send(this.fd, output.address, length, MSG_NOSIGNAL);
      if (count < 0) {
        const errno = libc.errno();
        if (errno !== ERRNO.EAGAIN) return this.fail('write', errno);
        return this.choose();
      }
      if (count === first.length) this.queue.shift();
      else this.queue[0] = first.subarray(count);
    }
    for (let turn = 0; turn < TURNS && this.flooding && this.fd >= 0; turn++) {
      const count = libc.send(this.fd, zeros.address, BLOCK, MSG_NOSIGNAL);
      if (count < 0) {
        const errno = libc.errno();
        if (errno !== ERRNO.EAGAIN) return this.fail('write', errno);
        break;
      }
      this.sent += count;
    }
    if (this.fd < 0) return;
    if (this.ending && this.queue.length === 0) {
      this.ending = false;
      this.shut = true;
      sockets.shutdownWrite(this.fd);
    }
    this.settle();
  }

  /** Closes what has ended both ways: epoll would name it for ever. */
  private settle(): void {
    if (this.heardEnd && this.shut) this.close();
    else this.choose();
  }

  private choose(): void {
    if (this.fd < 0 || !this.connected) return;
    const writes = this.flooding || this.queue.length > 0;
    const mask = (this.heardEnd ? 0 : EPOLLIN) | (writes ? EPOLLOUT : 0);
    if (mask === this.mask) return;
    this.mask = mask;
    this.network.rewatch(this.fd, mask);
  }
}
