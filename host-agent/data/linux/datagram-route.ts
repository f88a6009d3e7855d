/**
 * How the datagrams of a forward get to the VM: on a dedicated stream that this worker opens, or, where the link has
 * none (multiplexed lane, vpnkit), over a pair of sockets to the main thread. Opened when datagrams need it.
 */
import { ERRNO } from '../../../shared/errors.ts';
import type { FlowStream } from '../../../shared/platform/linux/datagrams/flow-stream.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import { STREAM_MASK } from '../../../shared/platform/linux/side.ts';
import type { WorkerStreams } from '../../../shared/platform/linux/worker-streams.ts';
import { encodeFields } from '../../../shared/stream-details.ts';
import { DatagramDial, type DatagramDialOwner } from './datagram-dial.ts';
import type { DatagramForwardOrder, DatagramReport, DatagramWay } from './datagram-orders.ts';
import type { ListenerContext } from './forward-listener.ts';
import type { HostShared } from './orders.ts';

/** Streams are not opened faster than this one after the other, milliseconds. */
const REOPEN_MS = 100;

export interface DatagramRouteOwner {
  /** The descriptor is the owner's, and watched. */
  opened(fd: number): void;
  /** @param why empty when it was said already */
  failed(why: string): void;
  /** The other side has aborted the stream that was opened. */
  aborted(): void;
}

/** What a route needs of its worker. */
export interface DatagramContext extends ListenerContext {
  post(report: DatagramReport): void;
}

export class DatagramRoute implements DatagramDialOwner {
  readonly reactor: Reactor;
  readonly streams: WorkerStreams;
  readonly shared: HostShared;
  readonly vm: number;
  readonly destination: Uint8Array;
  readonly fields: Uint8Array;
  private readonly id: number;
  private readonly context: DatagramContext;
  private readonly owner: DatagramRouteOwner;
  private state: 'closed' | 'asking' | 'dialling' | 'open' = 'closed';
  private dial: DatagramDial | undefined;
  private notBefore = Number.NEGATIVE_INFINITY;

  constructor(order: DatagramForwardOrder, context: DatagramContext, owner: DatagramRouteOwner) {
    this.id = order.id;
    this.vm = order.vm;
    this.destination = order.destination;
    this.fields = encodeFields(order);
    this.context = context;
    this.reactor = context.reactor;
    this.streams = context.streams;
    this.shared = context.shared;
    this.owner = owner;
  }

  /** Opens a stream, unless one is on its way. @returns false when it is too early for that */
  open(): boolean {
    if (this.state !== 'closed') return true;
    const { now } = this.reactor;
    if (now < this.notBefore) return false;
    this.notBefore = now + REOPEN_MS;
    if (!this.direct()) {
      this.state = 'asking';
      this.context.post({ type: 'udp-ask', id: this.id });
    }
    return true;
  }

  /** The main thread's answer to what was asked. */
  take(way: DatagramWay): void {
    if (this.state !== 'asking') return;
    if (way === 'bridge') this.bridge();
    else if (way === 'none') this.end('');
    else if (!this.direct()) this.end('the link to the VM is down again');
  }

  /** The stream is over and closed. */
  lost(): void {
    this.dial?.forget();
    this.dial = undefined;
    this.state = 'closed';
  }

  /** Aborts a stream that was opened. */
  abort(stream: FlowStream, errno: number): void {
    if (this.dial === undefined) stream.close();
    else this.dial.announce(stream.giveUp(), errno);
    this.dial = undefined;
    this.state = 'closed';
  }

  /** @param stream that was opened, if there is one */
  close(stream: FlowStream | undefined): void {
    if (stream !== undefined) this.abort(stream, ERRNO.ECANCELED);
    else if (this.state === 'dialling') this.dial?.cancel();
    this.dial = undefined;
    this.state = 'closed';
  }

  opened(fd: number): void {
    this.state = 'open';
    this.owner.opened(fd);
  }

  dialFailed(why: string): void {
    this.end(why);
  }

  aborted(): void {
    this.owner.aborted();
  }

  private direct(): boolean {
    const path = this.context.pathOf(this.vm);
    if (path === undefined || !path.udpFlows) return false;
    this.state = 'dialling';
    this.dial = new DatagramDial(path, this);
    this.dial.start();
    return true;
  }

  private bridge(): void {
    const pair = this.reactor.sockets.pair();
    if (pair === undefined) return this.end(`socketpair failed (${this.reactor.libc.errno()})`);
    const [ours, theirs] = pair;
    this.reactor.own(ours);
    this.context.post({ type: 'udp-bridge', id: this.id, fd: theirs });
    const errno = this.reactor.watch(ours, STREAM_MASK, NOBODY);
    if (errno === 0) return this.opened(ours);
    this.reactor.close(ours);
    this.end(`epoll_ctl failed (${errno})`);
  }

  private end(why: string): void {
    this.dial = undefined;
    this.state = 'closed';
    this.owner.failed(why);
  }
}

const NOBODY = { ready() {} };
