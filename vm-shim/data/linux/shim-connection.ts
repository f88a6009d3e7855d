/**
 * One dedicated stream in a worker: dials its container, and hands both to a Relay, which answers the host. The
 * counterpart of data/incoming.ts and shared/transport/dial-destination.ts.
 */
import { ERRNO, errnoName } from '../../../shared/errors.ts';
import type { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { EINPROGRESS } from '../../../shared/platform/linux/errno.ts';
import { BYTES_UP, Relay, type RelayOwner } from '../../../shared/platform/linux/relay.ts';
import { StreamDial } from '../../../shared/platform/linux/stream-dial.ts';
import type { Abortable } from '../../../shared/platform/linux/worker-streams.ts';
import type { ShimWorker } from './shim-worker.ts';
import type { StreamTarget } from './target-cache.ts';

/** A first request that is smaller is mostly whole: its container's answer is worth a moment of waiting, bytes. */
const MOST_PATIENT_BYTES = 4 * 1024;

export class ShimConnection extends StreamDial implements RelayOwner, Abortable {
  readonly relay: Relay;
  readonly counters = new Float64Array(2);
  private readonly shim: ShimWorker;
  private readonly owner: number;
  private readonly streamId: number;
  private readonly container: StreamTarget;
  private early: Buffer | undefined;
  /** The client has said something, and not so much that it must be about to say more. */
  private clientSpoke = false;

  /** Takes over the stream, which is watched. */
  constructor(shim: ShimWorker, fd: number, owner: number, streamId: number, container: StreamTarget) {
    super(shim.reactor, container);
    this.shim = shim;
    this.owner = owner;
    this.streamId = streamId;
    this.container = container;
    this.relay = new Relay(shim.reactor, fd, shim.kind, this);
    shim.reactor.hand(fd, this.relay.initiating);
  }

  /**
   * @param early what was read from the stream behind the preface
   * @param flags what epoll has said of the stream and nobody has acted on
   */
  dial(early: Buffer, flags: number): void {
    const { shim, relay } = this;
    if (!shim.begin(this)) return relay.limit();
    if (early.length > 0) this.early = early;
    this.clientSpoke = early.length > 0 && early.length < MOST_PATIENT_BYTES;
    relay.initiating.note(flags);
    const aborted = shim.streams.add(this.owner, this.streamId, this);
    if (aborted !== undefined) return relay.resetByPeer(aborted);
    if (this.container.sockaddr.length === 0) this.failed(ERRNO.ENAMETOOLONG, 'address');
    else this.begin();
    // What has not gone out by now has to survive the next read.
    if (this.early === early) this.early = Buffer.from(early);
  }

  stop(): void {
    this.relay.stop();
  }

  resetByPeer(errno: number): void {
    this.relay.resetByPeer(errno);
  }

  cancelDial(): void {
    // The kernel may have connected it already: its container must not take the close for an end.
    if (this.fd >= 0 && this.container.kind.tcp) this.reactor.sockets.resetOnClose(this.fd);
    this.closeFd();
  }

  confirmEnd(relay: Relay, hurry: boolean): void {
    this.shim.streams.confirm(this.owner, relay, hurry);
  }

  announceReset(_relay: Relay, stream: AbortedStream, errno: number): void {
    this.shim.streams.announce(this.owner, this.streamId, errno, stream);
  }

  released(): void {
    this.shim.streams.remove(this.owner, this.streamId);
    this.shim.released(this);
  }

  protected override sendEarly(): number {
    const { early, reactor } = this;
    if (early === undefined) return EINPROGRESS;
    const { libc, buffer } = reactor;
    early.copy(buffer.bytes);
    const count = libc.write(this.fd, buffer.address, early.length);
    if (count < 0) return libc.errno() === ERRNO.EAGAIN ? EINPROGRESS : libc.errno();
    this.counters[BYTES_UP]! += count;
    this.early = count === early.length ? undefined : Buffer.from(buffer.bytes.subarray(count, early.length));
    return 0;
  }

  protected override connected(flags: number): void {
    const { early } = this;
    this.early = undefined;
    const { keepalive } = this.container;
    if (keepalive !== undefined) this.reactor.sockets.keepAlive(this.fd, keepalive);
    const fd = this.takeFd();
    const mayWait = this.clientSpoke;
    this.relay.dialled(fd, this.container.kind, flags, {
      mayWait,
      ...(early !== undefined && { up: early }),
    });
  }

  protected override exhausted(errno: number): void {
    this.shim.exhausted(errno);
  }

  protected override failed(errno: number, what: string): void {
    this.cancelDial();
    this.shim.log.debug({ errno }, `cannot dial ${this.container.what}: ${what}: ${errnoName(errno)}`);
    this.relay.dialFailed(errno);
  }
}
