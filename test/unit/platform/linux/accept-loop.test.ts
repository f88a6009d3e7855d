import { beforeEach, expect, it } from 'vitest';
import { ERRNO } from '../../../../shared/errors.ts';
import { AcceptLoop, type AcceptOwner } from '../../../../shared/platform/linux/accept-loop.ts';
import { EPOLLEXCLUSIVE, EPOLLIN } from '../../../../shared/platform/linux/constants.ts';
import { Deadlines } from '../../../../shared/platform/linux/deadlines.ts';
import type { Reactor, Watcher } from '../../../../shared/platform/linux/reactor.ts';
import { Shortage } from '../../../../shared/platform/linux/shortage.ts';

const LISTENER = 7;
const FIRST = 2;
const STRIDE = 3;

/** A listener with a queue of clients, as a worker's loop shows it. */
class FakeReactor {
  now = 0;
  /** Clients that wait; a number below zero is the errno that accept4 answers. */
  queue: number[] = [];
  watchErrno = 0;
  readonly owned: number[] = [];
  readonly calls: string[] = [];
  readonly pipes = { closeIdle: (): void => {} };
  private watcher: Watcher | undefined;
  private failed = 0;
  private readonly list = new Deadlines(100);

  readonly sockets = {
    accept: (fd: number): number => {
      expect(fd).toBe(LISTENER);
      const next = this.queue.shift() ?? -ERRNO.EAGAIN;
      if (next >= 0) return next;
      this.failed = -next;
      return -1;
    },
  };
  readonly libc = { errno: (): number => this.failed };
  readonly shortage = new Shortage();

  own(fd: number): void {
    this.owned.push(fd);
  }

  watch(fd: number, mask: number, watcher: Watcher): number {
    expect([fd, mask]).toEqual([LISTENER, EPOLLIN | EPOLLEXCLUSIVE]);
    expect(this.watcher).toBeUndefined(); // epoll_ctl would answer EEXIST
    this.calls.push('watch');
    if (this.watchErrno === 0) this.watcher = watcher;
    return this.watchErrno;
  }

  unwatch(fd: number): void {
    expect(fd).toBe(LISTENER);
    this.calls.push('unwatch');
    this.watcher = undefined;
  }

  deadlinesOf(): Deadlines {
    return this.list;
  }

  get watched(): boolean {
    return this.watcher !== undefined;
  }

  wake(): void {
    this.watcher!.ready(EPOLLIN);
  }

  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) this.list.run(++this.now);
  }
}

let reactor: FakeReactor;
let counts: Int32Array;
let accepted: number[];
let pauses: number;
let turns: boolean;
let said: string[];
let loop: AcceptLoop;
let onClient: () => void;

beforeEach(() => {
  reactor = new FakeReactor();
  counts = new Int32Array(FIRST + 3 * STRIDE).fill(-1_000); // what is not a worker's count would always be fewer
  for (let worker = 0; worker < 3; worker++) counts[FIRST + worker * STRIDE] = 0;
  accepted = [];
  pauses = 0;
  turns = true;
  said = [];
  onClient = () => {};
  const owner: AcceptOwner = {
    accepted: (fd) => {
      expect(reactor.owned.at(-1)).toBe(fd);
      accepted.push(fd);
      onClient();
    },
    takesTurns: () => turns,
    paused: () => void pauses++,
  };
  loop = new AcceptLoop({
    reactor: reactor as unknown as Reactor,
    log: {
      debug: (fields, text) => said.push(`${text} ${JSON.stringify(fields)}`),
      warn: (_, text) => said.push(text),
    },
    fields: { forward: 'web' },
    name: 'the listener of web',
    load: { counts, first: FIRST, stride: STRIDE, workers: 3, index: 1 },
    owner,
  });
});

const clients = (count: number): number[] => Array.from({ length: count }, (_, index) => 100 + index);
/** What this worker has more than the others. */
function lead(count: number): void {
  counts[FIRST + STRIDE] = count;
}

it('accepts nobody before it is started, and after it is stopped', () => {
  expect(reactor.calls).toEqual([]);
  loop.listenAgain();
  expect(reactor.calls).toEqual([]);
  loop.start(LISTENER);
  loop.start(LISTENER);
  expect(reactor.calls).toEqual(['watch']);
  loop.stop();
  loop.stop();
  loop.listenAgain();
  expect(reactor.calls).toEqual(['watch', 'unwatch']);
});

it('accepts at most 32 clients in a row, and the others when it is woken again', () => {
  reactor.queue = clients(40);
  loop.start(LISTENER);
  reactor.wake();
  expect(accepted).toEqual(clients(32));
  reactor.wake();
  expect(accepted).toEqual(clients(40));
  expect(said).toEqual([]);
  expect(reactor.calls).toEqual(['watch']);
});

it('stops in the middle when a client makes it', () => {
  reactor.queue = clients(3);
  onClient = () => loop.stop();
  loop.start(LISTENER);
  reactor.wake();
  expect(accepted).toEqual(clients(1));
  expect(reactor.watched).toBe(false);
});

it('steps behind the others when one of them has over 4 connections fewer', () => {
  reactor.queue = clients(10);
  counts[FIRST] = 100; // this one has more
  onClient = () => lead(accepted.length);
  loop.start(LISTENER);
  reactor.wake();
  expect(accepted).toEqual(clients(5));
  expect(reactor.calls).toEqual(['watch', 'unwatch', 'watch']);
});

it('does not step back where there are no turns', () => {
  reactor.queue = clients(10);
  turns = false;
  lead(50);
  loop.start(LISTENER);
  reactor.wake();
  expect(accepted).toEqual(clients(10));
  expect(reactor.calls).toEqual(['watch']);
});

it('does not come back by stepping back when a client has paused it', () => {
  reactor.queue = clients(2);
  lead(50);
  onClient = () => loop.exhausted(ERRNO.EMFILE);
  loop.start(LISTENER);
  reactor.wake();
  expect(accepted).toEqual(clients(1));
  expect(reactor.watched).toBe(false);
});

it.each(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'] as const)('pauses for a moment at %s', (name) => {
  reactor.queue = [-ERRNO[name], ...clients(1)];
  loop.start(LISTENER);
  reactor.wake();
  expect([accepted, pauses, reactor.watched]).toEqual([[], 1, false]);
  expect(said).toEqual([expect.stringContaining(`out of descriptors or memory (${name})`)]);
  reactor.pass(100);
  expect(reactor.watched).toBe(true);
  reactor.wake();
  expect(accepted).toEqual(clients(1));
});

it('stays stopped after a pause, and is not started twice by its end', () => {
  loop.start(LISTENER);
  loop.exhausted(ERRNO.EMFILE);
  loop.stop();
  reactor.pass(100);
  expect(reactor.watched).toBe(false);
  loop.start(LISTENER);
  loop.exhausted(ERRNO.EMFILE);
  loop.start(LISTENER);
  reactor.pass(100);
  expect(reactor.calls).toEqual(['watch', 'unwatch', 'watch', 'unwatch', 'watch']);
});

it('leaves a listener that is out of listening until it listens again', () => {
  reactor.queue = [-ERRNO.EINVAL, ...clients(1)];
  loop.start(LISTENER);
  reactor.wake();
  expect([reactor.watched, pauses, said]).toEqual([false, 0, []]);
  loop.listenAgain();
  reactor.wake();
  expect(accepted).toEqual(clients(1));
});

it('goes on after a client that was gone before it was accepted', () => {
  reactor.queue = [-ERRNO.ECONNABORTED, ...clients(1)];
  loop.start(LISTENER);
  reactor.wake();
  expect(said).toEqual([`accept failed {"forward":"web","errno":${ERRNO.ECONNABORTED}}`]);
  reactor.wake();
  expect(accepted).toEqual(clients(1));
});

it('says when a listener cannot be watched', () => {
  reactor.watchErrno = ERRNO.ENOMEM;
  expect(() => loop.start(LISTENER)).toThrow('epoll_ctl the listener of web: ENOMEM');
  reactor.watchErrno = 0;
  loop.listenAgain();
  expect(reactor.watched).toBe(true);
});
