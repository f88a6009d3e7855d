/**
 * Connects a stream socket in a worker: to a transport, to a container. It is extended instead of held, so that a
 * connection costs no more objects than it has to.
 */
import { ERRNO } from '../../errors.ts';
import { BACKLOG_PATIENCE_MS, BACKLOG_RETRY_MS } from '../../transport/full-backlog.ts';
import { AF_UNIX, AF_VSOCK, EPOLLOUT } from './constants.ts';
import { type Deadline, removeDeadline, type Timed } from './deadlines.ts';
import { EINPROGRESS, isExhaustion } from './errno.ts';
import { isHangUp, type Reactor, type Watcher } from './reactor.ts';
import { type SideKind, STREAM_MASK } from './side.ts';
import { familyOf } from './sockaddr.ts';

/** Where descriptors or memory have run out, they are asked for again this often, milliseconds. */
const EXHAUSTED_MS = 100;

/** Where a dial goes. */
export interface DialTarget {
  /** Encoded. */
  readonly sockaddr: Buffer;
  readonly kind: SideKind;
  /** How long the other side may take to accept, milliseconds. */
  readonly withinMs: number;
}

export abstract class StreamDial implements Watcher, Timed {
  protected readonly reactor: Reactor;
  /** Ours until somebody takes it over; -1 when there is none. */
  protected fd = -1;
  private readonly target: DialTarget;
  private deadline: Deadline | undefined;
  private retryUntil = 0;
  private retrying = false;

  constructor(reactor: Reactor, target: DialTarget) {
    this.reactor = reactor;
    this.target = target;
  }

  /** It is connected and watched. @param flags what epoll has said of it and nobody has acted on */
  protected abstract connected(flags: number): void;

  /** There will be no connection; the descriptor is still to be closed. @param what failed, for people */
  protected abstract failed(errno: number, what: string): void;

  /** Descriptors or memory have run out; it is tried again by itself. */
  protected exhausted(_errno: number): void {}

  /** Ends in `connected` or `failed`, perhaps before it returns. */
  protected begin(): void {
    if (this.open()) this.connect();
  }

  ready(flags: number): void {
    if ((flags & EPOLLOUT) === 0 && !isHangUp(flags)) return;
    // A connect that failed is reported with EPOLLERR or EPOLLHUP (tcp_poll, vsock_poll).
    const errno = isHangUp(flags) ? this.reactor.sockets.pendingError(this.fd) : 0;
    this.clearDeadline();
    if (errno !== 0) this.refused(errno);
    else this.connected(flags);
  }

  expired(): void {
    this.deadline = undefined;
    if (!this.retrying) return this.failed(ERRNO.ETIMEDOUT, 'connect');
    this.retrying = false;
    if (this.fd >= 0) return this.connect();
    if (!this.open()) return;
    this.retryUntil = 0;
    this.connect();
  }

  /** Leaves the descriptor to the caller. */
  protected takeFd(): number {
    const { fd } = this;
    this.clearDeadline();
    this.fd = -1;
    return fd;
  }

  protected closeFd(): void {
    const fd = this.takeFd();
    if (fd >= 0) this.reactor.close(fd);
  }

  /** `expired` is called so much later, unless it is cleared. */
  protected setDeadline(ms: number): void {
    this.deadline = this.reactor.deadlinesOf(ms).add(this, this.reactor.now);
  }

  protected clearDeadline(): void {
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
  }

  private open(): boolean {
    const { reactor } = this;
    this.fd = reactor.sockets.open(this.target.sockaddr);
    if (this.fd >= 0) {
      reactor.own(this.fd);
      return true;
    }
    const errno = reactor.libc.errno();
    if (isExhaustion(errno)) {
      this.exhausted(errno);
      this.again(errno, 'socket', EXHAUSTED_MS, this.target.withinMs);
    } else this.failed(errno, 'socket');
    return false;
  }

  private connect(): void {
    const { reactor, target } = this;
    let errno = 0;
    if (reactor.sockets.connect(this.fd, target.sockaddr) < 0) {
      errno = reactor.libc.errno();
      // On this machine a handshake is over before connect(2) returns, although it says that it goes on.
      if (errno === EINPROGRESS) errno = this.sendEarly();
    }
    if (errno === 0) {
      if (this.watch(STREAM_MASK)) this.connected(0);
    } else if (errno === EINPROGRESS) {
      this.setDeadline(target.withinMs);
      this.watch(STREAM_MASK | EPOLLOUT);
    } else this.refused(errno);
  }

  /**
   * Sends what there is to send already, which shows at once whether it is connected.
   * @returns 0 when it is, EINPROGRESS when nobody knows yet, or why it is not
   */
  protected sendEarly(): number {
    return EINPROGRESS;
  }

  private watch(mask: number): boolean {
    const errno = this.reactor.watch(this.fd, mask, this);
    if (errno !== 0) this.failed(errno, 'epoll_ctl');
    return errno === 0;
  }

  /** A full backlog is tried again (full-backlog.ts). A vsock port on which nobody listens looks the same. */
  private refused(errno: number): void {
    const family = familyOf(this.target.sockaddr);
    const full =
      (family === AF_UNIX && errno === ERRNO.EAGAIN) || (family === AF_VSOCK && errno === ERRNO.ECONNRESET);
    if (!full) return this.failed(errno, 'connect');
    if (family === AF_VSOCK) {
      this.closeFd(); // it is no good for another connect (vsock_connect: it stays SS_CONNECTING)
      if (!this.open()) return;
    }
    this.again(errno, 'connect', BACKLOG_RETRY_MS, BACKLOG_PATIENCE_MS);
  }

  private again(errno: number, what: string, everyMs: number, forMs: number): void {
    const { now } = this.reactor;
    if (this.retryUntil === 0) this.retryUntil = now + forMs;
    if (now >= this.retryUntil) return this.failed(errno, `${what}, tried for ${forMs / 1000} s`);
    this.retrying = true;
    this.setDeadline(everyMs);
  }
}
