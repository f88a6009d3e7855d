import { beforeEach, expect, it } from 'vitest';
import { ERRNO } from '../../../../shared/errors.ts';
import { AcceptLoop, type AcceptOwner } from '../../../../shared/platform/linux/accept-loop.ts';
import type { Reactor } from '../../../../shared/platform/linux/reactor.ts';
import { FakeReactor, LISTENER } from '../../../helpers/fake-reactor.ts';

const FIRST = 2;
const STRIDE = 3;

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

it.each([
  ['EMFILE', ' (see ulimit -n)'],
  ['ENFILE', ' (see sysctl fs.file-max)'],
  ['ENOSPC', ' (see sysctl fs.epoll.max_user_watches)'],
  ['ENOBUFS', ''],
  ['ENOMEM', ''],
] as const)('pauses for a moment at %s', (name, hint) => {
  reactor.queue = [-ERRNO[name], ...clients(1)];
  loop.start(LISTENER);
  reactor.wake();
  expect([accepted, pauses, reactor.watched]).toEqual([[], 1, false]);
  expect(said).toEqual([
    `out of descriptors or memory (${name}): clients wait until others have gone${hint}`,
  ]);
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

it('waits for the end of a pause when it is started again meanwhile', () => {
  reactor.queue = [-ERRNO.EMFILE];
  loop.start(LISTENER);
  reactor.wake();
  loop.start(LISTENER);
  loop.listenAgain();
  loop.stop();
  loop.start(LISTENER);
  expect(reactor.watched).toBe(false);
  reactor.pass(99);
  expect(reactor.calls).toEqual(['watch', 'unwatch']);
  reactor.pass(1);
  expect(reactor.watched).toBe(true);
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
  reactor.watchErrno = ERRNO.EBADF;
  expect(() => loop.start(LISTENER)).toThrow('epoll_ctl the listener of web: EBADF');
  reactor.watchErrno = 0;
  loop.listenAgain();
  expect(reactor.watched).toBe(true);
});

it.each(['ENOMEM', 'ENOSPC'] as const)('tries again when it is started and there is %s', (name) => {
  reactor.watchErrno = ERRNO[name];
  loop.start(LISTENER);
  expect([reactor.watched, pauses]).toEqual([false, 1]);
  expect(said).toEqual([expect.stringContaining(`out of descriptors or memory (${name})`)]);
  reactor.watchErrno = 0;
  reactor.pass(100);
  reactor.queue = clients(1);
  reactor.wake();
  expect(accepted).toEqual(clients(1));
});

it('goes on pausing while there is no memory to come back with', () => {
  loop.start(LISTENER);
  loop.exhausted(ERRNO.EMFILE);
  reactor.watchErrno = ERRNO.ENOMEM;
  reactor.pass(3_000);
  expect([reactor.watched, pauses]).toEqual([false, 31]);
  reactor.watchErrno = 0;
  reactor.pass(100);
  expect(reactor.watched).toBe(true);
  reactor.pass(3_000);
  expect(said).toEqual([
    expect.stringContaining('out of descriptors or memory (EMFILE)'),
    'there are descriptors and memory again',
  ]);
});

it('pauses when there is no memory to step back with', () => {
  reactor.queue = clients(10);
  onClient = () => {
    lead(accepted.length);
    reactor.watchErrno = ERRNO.ENOSPC;
  };
  loop.start(LISTENER);
  reactor.wake();
  expect([accepted.length, reactor.watched, pauses]).toEqual([5, false, 1]);
  reactor.watchErrno = 0;
  reactor.pass(100);
  expect(reactor.watched).toBe(true);
});
