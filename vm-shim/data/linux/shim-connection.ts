/**
 * One dedicated stream in a worker: dials its container, and hands both to a Relay, which answers the host. The
 * counterpart of data/incoming.ts and data/dialer.ts.
 */
import { ERRNO, errnoName } from '../../../shared/errors.ts';
import type { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { MAX_RETRIES, mayBeFull, RETRY_MS } from '../../../shared/platform/linux/connect-retry.ts';
import { EPOLLOUT } from '../../../shared/platform/linux/constants.ts';
import { type Deadline, removeDeadline, type Timed } from '../../../shared/platform/linux/deadlines.ts';
import { EINPROGRESS } from '../../../shared/platform/linux/errno.ts';
import { isHangUp, type Watcher } from '../../../shared/platform/linux/reactor.ts';
import { Relay, type RelayOwner } from '../../../shared/platform/linux/relay.ts';
import { maskOf } from '../../../shared/platform/linux/side.ts';
import type { Abortable } from '../../../shared/platform/linux/worker-streams.ts';
import type { ShimWorker } from './shim-worker.ts';
import type { Target } from './target-cache.ts';

/** How long a container may take to accept, milliseconds. */
const DIAL_MS = 10_000;

export class ShimConnection implements Watcher, Timed, RelayOwner, Abortable {
  readonly relay: Relay;
  readonly counters = new Float64Array(2);
  private readonly shim: ShimWorker;
  private readonly owner: number;
  private readonly streamId: number;
  private readonly target: Target;
  private readonly sockaddr: Buffer;
  private fd = -1;
  private retries = 0;
  private retrying = false;
  private deadline: Deadline | undefined;
  private early: Buffer | undefined;

  /** Takes over the stream, which is watched. */
  constructor(shim: ShimWorker, fd: number, owner: number, streamId: number, target: Target) {
    this.shim = shim;
    this.owner = owner;
    this.streamId = streamId;
    this.target = target;
    this.sockaddr = target.sockaddr ?? NOWHERE;
    this.relay = new Relay(shim.reactor, fd, shim.kind, this);
    shim.reactor.hand(fd, this.relay.initiating);
  }

  /**
   * @param early what was read from the stream behind the preface
   * @param flags what epoll has said of the stream and nobody has acted on
   */
  dial(early: Buffer, flags: number): void {
    const { shim, relay } = this;
    const { reactor } = shim;
    if (!shim.begin(this)) return relay.limit();
    if (early.length > 0) this.early = Buffer.from(early);
    relay.initiating.note(flags);
    const aborted = shim.streams.add(this.owner, this.streamId, this);
    if (aborted !== undefined) return relay.resetByPeer(aborted);
    if (this.sockaddr === NOWHERE) return this.fail(ERRNO.ENAMETOOLONG);
    this.fd = reactor.sockets.open(this.sockaddr);
    if (this.fd < 0) return this.fail(reactor.libc.errno());
    reactor.own(this.fd);
    this.connect();
  }

  expired(): void {
    this.deadline = undefined;
    if (this.retrying) this.connect();
    else this.fail(ERRNO.ETIMEDOUT);
  }

  ready(flags: number): void {
    if ((flags & EPOLLOUT) === 0 && !isHangUp(flags)) return;
    // A connect that failed is reported with EPOLLERR or EPOLLHUP (tcp_poll).
    const errno = isHangUp(flags) ? this.shim.reactor.sockets.pendingError(this.fd) : 0;
    if (errno !== 0) this.fail(errno);
    else this.connected(flags);
  }

  resetByPeer(errno: number): void {
    this.relay.resetByPeer(errno);
  }

  cancelDial(): void {
    this.clearDeadline();
    if (this.fd < 0) return;
    // The kernel may have connected it already: its container must not take the close for an end.
    if (this.target.kind.tcp) this.shim.reactor.sockets.resetOnClose(this.fd);
    this.shim.reactor.close(this.fd);
    this.fd = -1;
  }

  confirmEnd(relay: Relay): void {
    this.shim.streams.confirm(this.owner, relay);
  }

  announceReset(_relay: Relay, stream: AbortedStream, errno: number): void {
    this.shim.streams.announce(this.owner, this.streamId, errno, stream);
  }

  released(): void {
    this.shim.streams.remove(this.owner, this.streamId);
    this.shim.released(this);
  }

  private connect(): void {
    const { reactor } = this.shim;
    this.retrying = false;
    if (reactor.sockets.connect(this.fd, this.sockaddr) === 0) {
      if (this.watch(maskOf(this.target.kind))) this.connected(0);
      return;
    }
    const errno = reactor.libc.errno();
    if (errno === EINPROGRESS) {
      this.deadline = reactor.deadlinesOf(DIAL_MS).add(this, reactor.now);
      this.watch(maskOf(this.target.kind) | EPOLLOUT);
    } else if (mayBeFull(this.sockaddr, errno) && ++this.retries <= MAX_RETRIES) {
      this.retrying = true;
      this.deadline = reactor.deadlinesOf(RETRY_MS).add(this, reactor.now);
    } else this.fail(errno);
  }

  private watch(mask: number): boolean {
    const errno = this.shim.reactor.watch(this.fd, mask, this);
    if (errno !== 0) this.fail(errno);
    return errno === 0;
  }

  private connected(flags: number): void {
    this.clearDeadline();
    const { fd, early } = this;
    this.fd = -1;
    this.early = undefined;
    this.relay.dialled(fd, this.target.kind, flags, early === undefined ? {} : { up: early });
  }

  private fail(errno: number): void {
    this.cancelDial();
    this.shim.log.debug({ errno }, `cannot dial ${this.target.what}: ${errnoName(errno)}`);
    this.relay.dialFailed(errno);
  }

  private clearDeadline(): void {
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
  }
}

const NOWHERE = Buffer.alloc(0);
