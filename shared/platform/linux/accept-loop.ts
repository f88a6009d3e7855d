import { ERRNO } from '../../errors.ts';
import { AcceptPause } from './accept-pause.ts';
import { EPOLLEXCLUSIVE, EPOLLIN } from './constants.ts';
import { isExhaustion, systemError } from './errno.ts';
import type { WorkerLog } from './messages.ts';
import type { Reactor, Watcher } from './reactor.ts';

/** Clients taken in a row before others get their turn. */
const MAX_ACCEPTS = 32;
/** Connections that a worker may have more than another before it steps back: stepping back costs two system calls. */
const TOLERATED_LEAD = 4;

/** How many connections each worker has, in memory that all workers see. */
export interface WorkerCounts {
  readonly counts: Int32Array | Float64Array;
  /** Where the count of the first worker is. */
  readonly first: number;
  /** From the count of one worker to that of the next. */
  readonly stride: number;
  /** How many workers there are. */
  readonly workers: number;
  /** Which of them this one is. */
  readonly index: number;
}

/** Whose clients are accepted. */
export interface AcceptOwner {
  /** Takes a client: its descriptor is this worker's and not watched, its address in `reactor.sockets.peer`. */
  accepted(fd: number): void;
  /** Whether this worker steps back for others by the counts. */
  takesTurns(): boolean;
  /** Nobody is accepted for a moment, because descriptors or memory have run out. */
  paused(): void;
}

export interface AcceptLoopOptions {
  readonly reactor: Reactor;
  readonly log: Pick<WorkerLog, 'debug' | 'warn'>;
  /** Whose clients they are, for the log. */
  readonly fields: Record<string, unknown>;
  /** What listens, for errors ("the listener of …"). */
  readonly name: string;
  readonly load: WorkerCounts;
  readonly owner: AcceptOwner;
}

/**
 * One worker's share in a listener on which every worker accepts. The kernel wakes one of those that wait
 * (EPOLLEXCLUSIVE, epoll_ctl(2)); a worker that has noticeably more connections than another steps behind it.
 */
export class AcceptLoop implements Watcher {
  private readonly reactor: Reactor;
  private readonly owner: AcceptOwner;
  private readonly options: AcceptLoopOptions;
  private readonly pause: AcceptPause;
  /** Of the listener, which belongs to the main thread; -1 while nobody is to be accepted. */
  private fd = -1;
  private watching = false;

  constructor(options: AcceptLoopOptions) {
    const { reactor, log, fields, owner } = options;
    this.options = options;
    this.reactor = reactor;
    this.owner = owner;
    this.pause = new AcceptPause({
      reactor,
      log,
      fields,
      pause: () => {
        owner.paused();
        this.deafen();
      },
      resume: () => this.listenAgain(),
    });
  }

  /** Accepts from now on, or as soon as there is memory for it. @throws BridgeError when the listener cannot be watched */
  start(listenFd: number): void {
    if (listenFd !== this.fd) this.stop();
    this.fd = listenFd;
    this.listenAgain();
  }

  /** Accepts nobody until the next `start`. */
  stop(): void {
    this.deafen();
    this.fd = -1;
  }

  /**
   * The listener, which may have been out of listening, listens. A pause goes on to its end: a client who waits would
   * wake us all the time.
   */
  listenAgain(): void {
    if (this.fd >= 0 && !this.watching && !this.pause.isPaused) this.listen();
  }

  /** Descriptors or memory have run out, here or for a client that was accepted. */
  exhausted(errno: number): void {
    this.pause.begin(errno);
  }

  ready(): void {
    const { reactor, owner } = this;
    for (let accepts = 0; accepts < MAX_ACCEPTS && this.watching; accepts++) {
      const fd = reactor.sockets.accept(this.fd);
      if (fd < 0) return this.refused(reactor.libc.errno());
      reactor.own(fd);
      owner.accepted(fd);
      if (owner.takesTurns() && this.isAhead()) return this.stepBack();
    }
  }

  /** Whether another worker has noticeably fewer connections. */
  private isAhead(): boolean {
    const { counts, first, stride, workers, index } = this.options.load;
    const tolerated = counts[first + index * stride]! - TOLERATED_LEAD;
    for (let worker = 0; worker < workers; worker++)
      if (counts[first + worker * stride]! < tolerated) return true;
    return false;
  }

  /** The kernel wakes the worker that has waited longest on the listener: the others come first now. */
  private stepBack(): void {
    if (!this.watching) return;
    this.deafen();
    this.listen();
  }

  private listen(): void {
    const { name } = this.options;
    const errno = this.reactor.watch(this.fd, EPOLLIN | EPOLLEXCLUSIVE, this);
    // An exception would end the worker, with every connection that it has.
    if (isExhaustion(errno)) return this.exhausted(errno);
    if (errno !== 0) throw systemError('epoll_ctl', name, errno);
    this.watching = true;
  }

  private deafen(): void {
    if (this.watching) this.reactor.unwatch(this.fd);
    this.watching = false;
  }

  private refused(errno: number): void {
    const { log, fields } = this.options;
    if (isExhaustion(errno)) this.exhausted(errno);
    // It was taken out of listening, which epoll would say again and again; `listenAgain` follows.
    else if (errno === ERRNO.EINVAL) this.deafen();
    else if (errno !== ERRNO.EAGAIN) log.debug({ ...fields, errno }, 'accept failed');
  }
}
