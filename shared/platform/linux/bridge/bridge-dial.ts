import { ERRNO } from '../../../errors.ts';
import { MAX_RETRIES, mayBeFull, RETRY_MS } from '../connect-retry.ts';
import { EPOLLET, EPOLLOUT } from '../constants.ts';
import { type Deadline, removeDeadline, type Timed } from '../deadlines.ts';
import { EINPROGRESS } from '../errno.ts';
import { isHangUp, type Reactor, type Watcher } from '../reactor.ts';

/** A CID that does not answer is given up by the kernel after 2 s (VSOCK_DEFAULT_CONNECT_TIMEOUT); this is for the rest. */
const DIAL_MS = 10_000;

/** One connect that the main thread has asked for. */
export class BridgeDial implements Watcher, Timed {
  private readonly reactor: Reactor;
  private readonly sockaddr: Buffer;
  private readonly done: (fd: number, errno: number) => void;
  private fd = -1;
  private retries = 0;
  private deadline: Deadline | undefined;

  /** @param done called once unless it is cancelled: a connected descriptor that nobody watches, or -1 and the errno */
  constructor(reactor: Reactor, sockaddr: Buffer, done: (fd: number, errno: number) => void) {
    this.reactor = reactor;
    this.sockaddr = sockaddr;
    this.done = done;
  }

  start(): void {
    const { reactor, sockaddr } = this;
    const { libc, sockets } = reactor;
    this.fd = sockets.open(sockaddr);
    if (this.fd < 0) return this.fail(libc.errno());
    reactor.own(this.fd);
    if (sockets.connect(this.fd, sockaddr) === 0) return this.finish();
    const errno = libc.errno();
    if (errno !== EINPROGRESS) return this.fail(errno);
    this.deadline = reactor.deadlinesOf(DIAL_MS).add(this, reactor.now);
    const refused = reactor.watch(this.fd, EPOLLOUT | EPOLLET, this);
    if (refused !== 0) this.fail(refused);
  }

  cancel(): void {
    this.close();
  }

  ready(flags: number): void {
    if ((flags & EPOLLOUT) === 0 && !isHangUp(flags)) return;
    const errno = this.reactor.sockets.pendingError(this.fd);
    if (errno === 0) this.finish();
    else this.fail(errno);
  }

  /** Either it has taken too long, or it is time to try again. */
  expired(): void {
    this.deadline = undefined;
    if (this.fd < 0) this.start();
    else this.fail(ERRNO.ETIMEDOUT);
  }

  private finish(): void {
    const { fd } = this;
    this.fd = -1;
    this.close();
    this.reactor.unwatch(fd);
    this.done(fd, 0);
  }

  /** A vsock socket that has failed to connect cannot try again (EALREADY), so the next try has another one. */
  private fail(errno: number): void {
    const { reactor } = this;
    this.close();
    if (!mayBeFull(this.sockaddr, errno) || ++this.retries > MAX_RETRIES) return this.done(-1, errno);
    this.deadline = reactor.deadlinesOf(RETRY_MS).add(this, reactor.now);
  }

  private close(): void {
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
    if (this.fd >= 0) this.reactor.close(this.fd);
    this.fd = -1;
  }
}
