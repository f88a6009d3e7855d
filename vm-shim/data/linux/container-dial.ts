/** Connects to a container's TCP port or unix socket in a worker; the counterpart of data/dialer.ts. */
import { ERRNO, errnoName } from '../../../shared/errors.ts';
import { EPOLLOUT } from '../../../shared/platform/linux/constants.ts';
import { type Deadline, removeDeadline, type Timed } from '../../../shared/platform/linux/deadlines.ts';
import { EINPROGRESS } from '../../../shared/platform/linux/errno.ts';
import { isHangUp, type Reactor, type Watcher } from '../../../shared/platform/linux/reactor.ts';
import { maskOf } from '../../../shared/platform/linux/side.ts';
import type { Target } from './target-cache.ts';

/** How long a container may take to accept, milliseconds. */
const DIAL_MS = 10_000;
/** A full backlog of a unix socket is tried again this often, and for two seconds, milliseconds. */
const RETRY_MS = 5;
const MAX_RETRIES = 400;

export interface ContainerDialOwner {
  /**
   * The descriptor is the owner's, and watched.
   * @param flags what epoll has said of it and nobody has acted on
   */
  dialled(fd: number, flags: number): void;
  dialFailed(errno: number, why: string): void;
}

export class ContainerDial implements Watcher, Timed {
  private readonly reactor: Reactor;
  private readonly target: Target;
  private readonly owner: ContainerDialOwner;
  private readonly sockaddr: Buffer;
  private fd = -1;
  private retries = 0;
  private retrying = false;
  private deadline: Deadline | undefined;

  constructor(reactor: Reactor, target: Target, owner: ContainerDialOwner) {
    this.reactor = reactor;
    this.target = target;
    this.owner = owner;
    this.sockaddr = target.sockaddr ?? NOWHERE;
  }

  start(): void {
    const { reactor } = this;
    if (this.sockaddr === NOWHERE) return this.fail(ERRNO.ENAMETOOLONG);
    this.fd = reactor.sockets.open(this.sockaddr);
    if (this.fd < 0) return this.fail(reactor.libc.errno());
    reactor.own(this.fd);
    this.connect();
  }

  /** Gives up; nothing is said any more. May be called again, and after it is over. */
  cancel(): void {
    this.clearDeadline();
    if (this.fd < 0) return;
    // The kernel may have connected it already: its container must not take the close for an end.
    if (this.target.kind.tcp) this.reactor.reset(this.fd);
    else this.reactor.close(this.fd);
    this.fd = -1;
  }

  expired(): void {
    this.deadline = undefined;
    if (this.retrying) this.connect();
    else this.fail(ERRNO.ETIMEDOUT);
  }

  ready(flags: number): void {
    if ((flags & EPOLLOUT) === 0 && !isHangUp(flags)) return;
    // A connect that failed is reported with EPOLLERR or EPOLLHUP (tcp_poll).
    const errno = isHangUp(flags) ? this.reactor.sockets.pendingError(this.fd) : 0;
    if (errno !== 0) this.fail(errno);
    else this.connected(flags);
  }

  private connect(): void {
    const { reactor } = this;
    this.retrying = false;
    if (reactor.sockets.connect(this.fd, this.sockaddr) === 0) {
      if (this.watch(maskOf(this.target.kind))) this.connected(0);
      return;
    }
    const errno = reactor.libc.errno();
    if (errno === EINPROGRESS) {
      this.deadline = reactor.deadlinesOf(DIAL_MS).add(this, reactor.now);
      this.watch(maskOf(this.target.kind) | EPOLLOUT);
    } else if (errno === ERRNO.EAGAIN && ++this.retries <= MAX_RETRIES) {
      this.retrying = true;
      this.deadline = reactor.deadlinesOf(RETRY_MS).add(this, reactor.now);
    } else this.fail(errno);
  }

  private watch(mask: number): boolean {
    const errno = this.reactor.watch(this.fd, mask, this);
    if (errno !== 0) this.fail(errno);
    return errno === 0;
  }

  private connected(flags: number): void {
    this.clearDeadline();
    const { fd } = this;
    this.fd = -1;
    this.owner.dialled(fd, flags);
  }

  private fail(errno: number): void {
    this.cancel();
    this.owner.dialFailed(errno, `cannot dial ${this.target.what}: ${errnoName(errno)}`);
  }

  private clearDeadline(): void {
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
  }
}

const NOWHERE = Buffer.alloc(0);
