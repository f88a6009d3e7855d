/**
 * One dedicated stream in a worker: dials its container, and hands both to a Relay, which answers the host. The
 * counterpart of data/incoming.ts.
 */
import type { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { Relay, type RelayOwner } from '../../../shared/platform/linux/relay.ts';
import { TUNNEL_TCP, TUNNEL_UNIX } from '../../../shared/platform/linux/side.ts';
import type { Abortable } from '../../../shared/platform/linux/worker-streams.ts';
import { ContainerDial, type ContainerDialOwner } from './container-dial.ts';
import type { ShimWorker } from './shim-worker.ts';
import type { Target } from './target-cache.ts';

export class ShimConnection implements RelayOwner, Abortable, ContainerDialOwner {
  readonly counters = new Float64Array(2);
  private readonly relay: Relay;
  private readonly shim: ShimWorker;
  private readonly owner: number;
  private readonly streamId: number;
  private readonly target: Target;
  private readonly container: ContainerDial;
  private early: Buffer | undefined;

  /** Takes over the stream, which is watched. */
  constructor(shim: ShimWorker, fd: number, owner: number, streamId: number, target: Target) {
    this.shim = shim;
    this.owner = owner;
    this.streamId = streamId;
    this.target = target;
    this.container = new ContainerDial(shim.reactor, target, this);
    this.relay = new Relay(shim.reactor, fd, shim.tcp ? TUNNEL_TCP : TUNNEL_UNIX, this);
    shim.reactor.hand(fd, this.relay.initiating);
  }

  /**
   * @param early what was read from the stream behind the preface
   * @param flags what epoll has said of the stream and nobody has acted on
   */
  dial(early: Buffer, flags: number): void {
    const { shim, relay } = this;
    if (!shim.begin(this)) return relay.limit();
    if (early.length > 0) this.early = Buffer.from(early);
    relay.initiating.note(flags);
    const aborted = shim.streams.add(this.owner, this.streamId, this);
    if (aborted !== undefined) return relay.resetByPeer(aborted);
    this.container.start();
  }

  stop(): void {
    this.relay.stop();
  }

  dialled(fd: number, flags: number): void {
    const { early } = this;
    this.early = undefined;
    this.relay.dialled(fd, this.target.kind, flags, early === undefined ? {} : { up: early });
  }

  dialFailed(errno: number, why: string): void {
    this.shim.log.debug({ errno }, why);
    this.relay.dialFailed(errno);
  }

  resetByPeer(errno: number): void {
    this.relay.resetByPeer(errno);
  }

  cancelDial(): void {
    this.container.cancel();
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
}
