import { expect } from 'vitest';
import { ERRNO } from '../../shared/errors.ts';
import { EPOLLEXCLUSIVE, EPOLLIN } from '../../shared/platform/linux/constants.ts';
import { Deadlines } from '../../shared/platform/linux/deadlines.ts';
import type { Watcher } from '../../shared/platform/linux/reactor.ts';
import { Shortage } from '../../shared/platform/linux/shortage.ts';

/** The descriptor of the listener. */
export const LISTENER = 7;

/** A listener with a queue of clients, as a worker's loop shows it. */
export class FakeReactor {
  now = 0;
  /** Clients that wait; a number below zero is the errno that accept4 answers. */
  queue: number[] = [];
  watchErrno = 0;
  readonly owned: number[] = [];
  readonly closed: number[] = [];
  readonly calls: string[] = [];
  readonly pipes = { closeIdle: (): void => {} };
  private watcher: Watcher | undefined;
  private failed = 0;
  private readonly list = new Deadlines(100);

  readonly sockets = {
    /** The address of the last client. */
    peer: Buffer.alloc(0) as Buffer,
    accept: (fd: number): number => {
      expect(fd).toBe(LISTENER);
      const next = this.queue.shift() ?? -ERRNO.EAGAIN;
      this.sockets.peer = this.peerOf(next);
      if (next >= 0) return next;
      this.failed = -next;
      return -1;
    },
  };
  readonly libc = { errno: (): number => this.failed };
  readonly shortage = new Shortage();

  /** The address that a client has, as accept4 writes it. */
  peerOf: (client: number) => Buffer = () => Buffer.alloc(0);

  own(fd: number): void {
    this.owned.push(fd);
  }

  close(fd: number): void {
    this.closed.push(fd);
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
