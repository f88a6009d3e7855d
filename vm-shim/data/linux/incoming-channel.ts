/**
 * One channel of a link that lives in this worker: dials its container, and hands both to a Connection. The
 * counterpart of data/incoming.ts.
 */
import type { Destination, UdpDestination } from '../../../shared/destination.ts';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import type { Channel } from '../../../shared/mux/channel.ts';
import type { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { DescriptorEnd } from '../../../shared/platform/linux/mux/descriptor-end.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import { BRIDGED_UNIX, STREAM_MASK } from '../../../shared/platform/linux/side.ts';
import { ChannelEnd } from '../../../shared/relay/channel-end.ts';
import { Connection } from '../../../shared/relay/connection.ts';
import { ContainerDial, type ContainerDialOwner } from './container-dial.ts';
import type { DatagramTunnel } from './datagram-exits.ts';
import type { ShimWorker } from './shim-worker.ts';
import { type Target, targetOf } from './target-cache.ts';

export class IncomingChannel implements ContainerDialOwner {
  private readonly shim: ShimWorker;
  private readonly link: WorkerLink;
  private readonly channel: Channel;
  private readonly target: Target;
  private readonly container: ContainerDial;
  private readonly connection: Connection;
  /** Why its destination may not be dialled. */
  private refused: BridgeError | undefined;

  /** Takes over a channel that the host has opened. */
  constructor(shim: ShimWorker, link: WorkerLink, channel: Channel) {
    this.shim = shim;
    this.link = link;
    this.channel = channel;
    this.target = targetOf(this.admitted(), channel.details.keepalive);
    this.container = new ContainerDial(shim.reactor, this.target, this);
    const end = new ChannelEnd(true);
    end.bind(channel);
    channel.handler = end.events();
    this.connection = new Connection(end, {
      counters: { bytesUp: 0, bytesDown: 0 },
      cancelDial: () => this.container.cancel(),
      closed: () => shim.released(this),
    });
  }

  serve(): void {
    const { destination } = this.channel;
    if (this.refused !== undefined) return this.connection.limit(this.refused);
    // Datagrams count by themselves.
    if (destination.protocol === 'udp') return this.serveDatagrams(destination);
    if (this.shim.begin(this)) this.container.start();
    else this.connection.limit(FULL);
  }

  /** Ends it at once, both sides by a reset. */
  stop(): void {
    this.connection.stop(STOPPED);
  }

  dialled(fd: number, flags: number): void {
    const end = this.endOf(fd);
    end.adopt(flags);
    this.connection.dialled(end);
  }

  exhausted(errno: number): void {
    this.shim.exhausted(errno);
  }

  dialFailed(errno: number, why: string): void {
    this.shim.log.debug({ errno, client: this.channel.details.client }, why);
    this.connection.dialFailed(new BridgeError('DIAL_FAILED', why, { errno }));
  }

  private admitted(): Destination {
    const { destination } = this.channel;
    try {
      return this.shim.allowed.admit(destination);
    } catch (error) {
      this.refused = error as BridgeError;
      return destination;
    }
  }

  private endOf(fd: number): DescriptorEnd {
    const kind = this.channel.destination.protocol === 'udp' ? BRIDGED_UNIX : this.target.kind;
    const end = new DescriptorEnd(this.shim.reactor, fd, kind, this.link.boxes, () => {});
    end.feed(this.channel);
    return end;
  }

  /** Over a pair of sockets, at whose other end the datagrams look as on a dedicated stream. */
  private serveDatagrams(destination: UdpDestination): void {
    const { reactor } = this.shim;
    const pair = reactor.sockets.pair();
    if (pair === undefined) return this.dialFailed(reactor.libc.errno(), 'socketpair failed');
    const [ours, theirs] = pair;
    reactor.own(ours);
    reactor.own(theirs);
    const end = this.endOf(ours);
    const errno = reactor.watch(theirs, STREAM_MASK, { ready() {} }) || end.watch();
    if (errno !== 0) {
      reactor.close(ours);
      reactor.close(theirs);
      return this.dialFailed(errno, 'epoll_ctl failed');
    }
    const tunnel = new PairTunnel(theirs);
    const { flowIdle } = this.channel.details;
    this.shim.serveDatagrams(tunnel, { destination, flowIdle }, Buffer.alloc(0));
    if (!tunnel.refused) return this.connection.dialled(end);
    reactor.close(theirs);
    reactor.close(ours);
    this.connection.limit(FULL);
  }
}

/** What a dedicated stream has besides its bytes is the channel's here. */
class PairTunnel implements DatagramTunnel {
  readonly fd: number;
  readonly answer = Buffer.alloc(0);
  refused = false;

  constructor(fd: number) {
    this.fd = fd;
  }

  refuse(): void {
    this.refused = true;
  }

  add(): undefined {}

  remove(): void {}

  announce(stream: AbortedStream): void {
    stream.announced();
  }
}

const FULL = new BridgeError('LIMIT_REACHED', 'the VM shim carries its most connections', {
  errno: ERRNO.ENOBUFS,
});
const STOPPED = new BridgeError('CANCELLED', 'the VM shim is stopping');
