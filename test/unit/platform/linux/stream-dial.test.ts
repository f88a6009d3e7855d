/** What a dial does about errors that pass, against a socket layer that says what it is told to. */
import { beforeEach, describe, expect, it } from 'vitest';
import { EPOLLERR, EPOLLOUT } from '../../../../shared/platform/linux/constants.ts';
import { Deadlines } from '../../../../shared/platform/linux/deadlines.ts';
import type { Reactor } from '../../../../shared/platform/linux/reactor.ts';
import { PLAIN_TCP, PLAIN_UNIX, type SideKind } from '../../../../shared/platform/linux/side.ts';
import { encodeSockaddr, type SocketAddress } from '../../../../shared/platform/linux/sockaddr.ts';
import { StreamDial } from '../../../../shared/platform/linux/stream-dial.ts';

const [EAGAIN, EMFILE, ECONNRESET, ETIMEDOUT, ECONNREFUSED, EINPROGRESS] = [11, 24, 104, 110, 111, 115];
const UNIX: SocketAddress = { family: 'unix', path: '/run/some.sock' };
const VSOCK: SocketAddress = { family: 'vsock', cid: 3, port: 4 };
const TCP: SocketAddress = { family: 'ip', ip: '127.0.0.1', port: 5 };

/** One thread's sockets and clock; errnos are answered in turn, 0 for success. */
class FakeReactor {
  now = 1_000;
  opens: number[] = [];
  connects: number[] = [];
  pending = 0;
  open = new Set<number>();
  private errno = 0;
  private nextFd = 10;
  private readonly lists = new Map<number, Deadlines>();

  readonly libc = { errno: () => this.errno };
  readonly sockets = {
    open: () => {
      this.errno = this.opens.shift() ?? 0;
      if (this.errno !== 0) return -1;
      this.open.add(this.nextFd);
      return this.nextFd++;
    },
    connect: () => {
      this.errno = this.connects.shift() ?? 0;
      return this.errno === 0 ? 0 : -1;
    },
    pendingError: () => this.pending,
  };

  own(): void {}

  watch(): number {
    return 0;
  }

  close(fd: number): void {
    expect(this.open.delete(fd)).toBe(true);
  }

  deadlinesOf(ms: number): Deadlines {
    const list = this.lists.get(ms) ?? new Deadlines(ms);
    this.lists.set(ms, list);
    return list;
  }

  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now++;
      for (const list of [...this.lists.values()]) list.run(this.now);
    }
  }
}

class Dial extends StreamDial {
  readonly said: string[] = [];

  constructor(reactor: FakeReactor, address: SocketAddress, kind: SideKind) {
    super(reactor as unknown as Reactor, { sockaddr: encodeSockaddr(address), kind, withinMs: 10_000 });
    this.begin();
  }

  protected override connected(): void {
    this.said.push(`connected ${this.takeFd()}`);
  }

  protected override failed(errno: number, what: string): void {
    this.said.push(`${what}: ${errno}`);
    this.closeFd();
  }

  protected override exhausted(errno: number): void {
    this.said.push(`exhausted ${errno}`);
  }
}

describe('a dial', () => {
  let reactor: FakeReactor;

  beforeEach(() => {
    reactor = new FakeReactor();
  });

  it('waits for a full backlog of a unix socket, on the same socket', () => {
    reactor.connects = [EAGAIN, EAGAIN, EAGAIN];
    const { said } = new Dial(reactor, UNIX, PLAIN_UNIX);
    expect(said).toEqual([]);
    reactor.pass(100);
    expect(said).toEqual(['connected 10']);
  });

  it('names a backlog that stays full for two seconds', () => {
    reactor.connects = Array.from({ length: 10_000 }, () => EAGAIN);
    const { said } = new Dial(reactor, UNIX, PLAIN_UNIX);
    reactor.pass(1_900);
    expect(said).toEqual([]);
    reactor.pass(200);
    expect(said).toEqual([`connect, tried for 2 s: ${EAGAIN}`]);
    expect(reactor.open.size).toBe(0);
  });

  it('takes another socket where vsock refuses, at once or later', () => {
    reactor.connects = [ECONNRESET, EINPROGRESS, EINPROGRESS];
    const dial = new Dial(reactor, VSOCK, PLAIN_TCP);
    reactor.pass(10);
    reactor.pending = ECONNRESET;
    dial.ready(EPOLLERR | EPOLLOUT);
    reactor.pass(10);
    expect(dial.said).toEqual([]);
    expect([...reactor.open]).toEqual([12]);
    dial.ready(EPOLLOUT);
    expect(dial.said).toEqual(['connected 12']);
  });

  it('gives vsock up after two seconds as well', () => {
    reactor.connects = Array.from({ length: 10_000 }, () => ECONNRESET);
    const { said } = new Dial(reactor, VSOCK, PLAIN_TCP);
    reactor.pass(2_100);
    expect(said).toEqual([`connect, tried for 2 s: ${ECONNRESET}`]);
    expect(reactor.open.size).toBe(0);
  });

  it.each([
    ['reset over TCP', TCP, PLAIN_TCP, ECONNRESET],
    ['refused', UNIX, PLAIN_UNIX, ECONNREFUSED],
  ] as const)('is not repeated when it is %s', (_what, address, kind, errno) => {
    reactor.connects = [errno];
    expect(new Dial(reactor, address, kind).said).toEqual([`connect: ${errno}`]);
  });

  it('waits for a descriptor, as long as it may take', () => {
    reactor.opens = [EMFILE, EMFILE];
    const { said } = new Dial(reactor, TCP, PLAIN_TCP);
    expect(said).toEqual([`exhausted ${EMFILE}`]);
    reactor.pass(1_000);
    expect(said).toEqual([`exhausted ${EMFILE}`, `exhausted ${EMFILE}`, 'connected 10']);
  });

  it('has all its patience with a backlog after it had to wait for a descriptor', () => {
    reactor.opens = [EMFILE];
    reactor.connects = Array.from({ length: 10_000 }, () => EAGAIN);
    const { said } = new Dial(reactor, UNIX, PLAIN_UNIX);
    reactor.pass(100 + 1_900);
    expect(said).toEqual([`exhausted ${EMFILE}`]);
    reactor.pass(200);
    expect(said.slice(1)).toEqual([`connect, tried for 2 s: ${EAGAIN}`]);
  });

  it('gives up when there is no descriptor in its time', () => {
    reactor.opens = Array.from({ length: 1_000 }, () => EMFILE);
    const { said } = new Dial(reactor, TCP, PLAIN_TCP);
    reactor.pass(11_000);
    expect(said.at(-1)).toBe(`socket, tried for 10 s: ${EMFILE}`);
  });

  it('has its time, and no more', () => {
    reactor.connects = [EINPROGRESS];
    const { said } = new Dial(reactor, TCP, PLAIN_TCP);
    reactor.pass(9_999);
    expect(said).toEqual([]);
    reactor.pass(1);
    expect(said).toEqual([`connect: ${ETIMEDOUT}`]);
    expect(reactor.open.size).toBe(0);
  });
});
