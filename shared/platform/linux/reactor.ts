/**
 * The loop of one worker thread. It sleeps in `epoll_wait` and nowhere else, so nothing asynchronous of Node
 * runs in the thread: messages of the main thread are fetched when its eventfd wakes us, timers are lists of
 * deadlines, and what has more to do than is fair asks to be run again behind the others.
 *
 * Descriptors are registered once, edge-triggered: a dead one that nobody reads cannot spin the loop. An
 * eventfd need not be read then, since every write to it is an edge (eventfd_write wakes its waiters).
 */
import { ByteRate, type ByteShare } from '../../byte-rate.ts';
import { Pace } from '../../pace.ts';
import { Arena, type Piece } from './arena.ts';
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN } from './constants.ts';
import { Deadlines } from './deadlines.ts';
import { Epoll } from './epoll.ts';
import { systemError } from './errno.ts';
import type { Ledger } from './ledger.ts';
import type { Libc } from './libc.ts';
import { PipePool } from './pipe-pool.ts';
import { Shortage } from './shortage.ts';
import { Sockets } from './sockets.ts';

/** Who is told about a descriptor. Flags are those of epoll(7). */
export interface Watcher {
  ready(flags: number): void;
}

export interface Task {
  run(): void;
}

/** What has to be done at some time. */
interface Agenda {
  /** When to call `run`, on the reactor's clock; Infinity while there is nothing. */
  readonly first: number;
  run(now: number): void;
}

/** What one read takes at the most when bytes are copied. */
export const COPY_BYTES = 64 * 1024;
const ARENA_BYTES = 256 * 1024;
/** The longest sleep: a thread that is being terminated notices within it even when nobody wakes it. */
const MAX_SLEEP_MS = 1_000;
/** How long a stop waits for the peer to close what was aborted, milliseconds; the process closes it when it ends. */
const MAX_STOP_MS = 200;

export class Reactor {
  readonly libc: Libc;
  readonly sockets: Sockets;
  readonly pipes: PipePool;
  /** For one read followed by its write; nothing is kept in it. */
  readonly buffer: Piece;
  readonly arena: Arena;
  readonly shortage: Shortage;
  /** Milliseconds of a clock that never runs backwards, as of the last wake-up. */
  now = performance.now();
  private readonly epoll: Epoll;
  private readonly ledger: Ledger;
  private readonly watchers: Array<Watcher | undefined> = [];
  private readonly generations: number[] = [];
  private readonly deadlines = new Map<number, Deadlines>();
  private readonly agendas: Agenda[] = [];
  /** By the numbers of their rates. */
  private readonly paces = new Map<number, Pace>();
  private tasks: Task[] = [];
  private generation = 0;
  private stopBy: number | undefined;
  /** Aborted streams that wait for their peer; a stop waits for them. */
  lingering = 0;

  constructor(libc: Libc, ledger: Ledger, shortage = new Shortage()) {
    this.libc = libc;
    this.shortage = shortage;
    this.ledger = ledger;
    this.arena = new Arena(libc, ARENA_BYTES);
    this.sockets = new Sockets(libc, this.arena);
    this.pipes = new PipePool(libc, this.arena, ledger);
    this.buffer = this.arena.carve(COPY_BYTES);
    this.epoll = new Epoll(libc, this.arena);
    ledger.add(this.epoll.fd);
  }

  /** Notes a descriptor that was just opened as ours; `close` forgets it. */
  own(fd: number): void {
    this.ledger.add(fd);
  }

  /** Begins to watch. What is ready already is reported. @returns 0 or the errno */
  watch(fd: number, mask: number, watcher: Watcher): number {
    this.generation = (this.generation + 1) >>> 0;
    this.watchers[fd] = watcher;
    this.generations[fd] = this.generation;
    const errno = this.epoll.add(fd, mask, this.generation);
    if (errno !== 0) this.watchers[fd] = undefined;
    return errno;
  }

  /** Changes who is told; what was reported already is not reported again. */
  hand(fd: number, watcher: Watcher): void {
    this.watchers[fd] = watcher;
  }

  /** Changes the mask. What is ready is reported again. */
  rewatch(fd: number, mask: number): void {
    this.epoll.modify(fd, mask, this.generations[fd]!);
  }

  /** Stops watching a descriptor that stays open. */
  unwatch(fd: number): void {
    if (this.watchers[fd] === undefined) return;
    this.watchers[fd] = undefined;
    this.epoll.remove(fd);
  }

  /** Gives a descriptor to another thread, which owns it from now on. */
  release(fd: number): void {
    this.unwatch(fd);
    this.ledger.remove(fd);
  }

  close(fd: number): void {
    this.watchers[fd] = undefined;
    this.ledger.remove(fd);
    this.libc.close(fd);
  }

  /** Closes so that the peer sees a reset, where there is such a thing. */
  reset(fd: number): void {
    this.sockets.resetOnClose(fd);
    this.close(fd);
  }

  /** Runs a task behind everything that is ready now. */
  later(task: Task): void {
    this.tasks.push(task);
  }

  /** The deadlines that are so far away when they are set, milliseconds. */
  deadlinesOf(ms: number): Deadlines {
    let list = this.deadlines.get(ms);
    if (list === undefined) {
      list = new Deadlines(ms);
      this.deadlines.set(ms, list);
      this.heed(list);
    }
    return list;
  }

  /** Those of this thread who wait for a rate; there is one for each rate. */
  paceOf(share: ByteShare): Pace {
    const known = this.paces.get(share.id);
    if (known !== undefined) return known;
    const pace: Pace = new Pace(new ByteRate(share), () => this.heed(pace));
    this.paces.set(share.id, pace);
    return pace;
  }

  /** Runs what is on an agenda when it is time, from now on. May be called again. */
  private heed(agenda: Agenda): void {
    if (!this.agendas.includes(agenda)) this.agendas.push(agenda);
  }

  /** Ends the loop as soon as nothing lingers. */
  stop(): void {
    this.stopBy ??= performance.now() + MAX_STOP_MS;
  }

  /**
   * Runs until `stop`.
   * @param wakeFd eventfd that the main thread writes
   * @param onWake fetches the messages of the main thread
   * @param wakeUps counts how often the loop came out of its sleep, in its first element
   */
  run(wakeFd: number, onWake: () => void, wakeUps: Int32Array): void {
    const errno = this.watch(wakeFd, EPOLLIN | EPOLLET, { ready: onWake });
    if (errno !== 0) throw systemError('epoll_ctl', 'the eventfd of a worker', errno);
    onWake();
    while (this.stopBy === undefined || (this.lingering > 0 && this.now < this.stopBy)) {
      const count = this.epoll.wait(this.sleepMs());
      wakeUps[0]!++;
      this.now = performance.now();
      for (let index = 0; index < count; index++) this.dispatch(index);
      if (this.tasks.length > 0) this.runTasks();
      for (const agenda of this.agendas) if (agenda.first <= this.now) agenda.run(this.now);
    }
    this.pipes.closeIdle();
    this.close(this.epoll.fd);
  }

  private dispatch(index: number): void {
    const fd = this.epoll.fdAt(index);
    const watcher = this.watchers[fd];
    if (watcher === undefined || this.generations[fd] !== this.epoll.generationAt(index)) return;
    watcher.ready(this.epoll.flagsAt(index));
  }

  private runTasks(): void {
    const tasks = this.tasks;
    this.tasks = [];
    for (const task of tasks) task.run();
  }

  private sleepMs(): number {
    if (this.tasks.length > 0) return 0;
    let first = Number.POSITIVE_INFINITY;
    for (const agenda of this.agendas) if (agenda.first < first) first = agenda.first;
    if (first === Number.POSITIVE_INFINITY) return MAX_SLEEP_MS;
    return Math.min(MAX_SLEEP_MS, Math.max(0, Math.ceil(first - performance.now())));
  }
}

/** Whether flags say that a peer is gone in both directions, or that an error waits. */
export function isHangUp(flags: number): boolean {
  return (flags & (EPOLLHUP | EPOLLERR)) !== 0;
}
