import { ERRNO } from '../../../shared/errors.ts';
import { Limit } from '../../../shared/limit.ts';
import { WorkerLog } from '../../../shared/platform/linux/messages.ts';
import { type WorkerLink, WorkerLinks } from '../../../shared/platform/linux/mux/worker-links.ts';
import { WorkerStreams } from '../../../shared/platform/linux/worker-streams.ts';
import type { WorkerContext, WorkerProgram } from '../../../shared/platform/linux/worker-thread.ts';
import { probeChannel } from './channel-probe.ts';
import { DatagramChannel } from './datagram-channel.ts';
import type { DatagramReport } from './datagram-orders.ts';
import type { DatagramContext } from './datagram-route.ts';
import { ForwardListener } from './forward-listener.ts';
import { HostPath } from './host-path.ts';
import type { ChannelPathOrder, HostOrder, HostReport, HostShared, PathOrder } from './orders.ts';
import type { PathSpares } from './path-spares.ts';
import { WorkerDatagrams } from './worker-datagrams.ts';

/** The host agent's part of a worker: its forwards, and the ways to the VMs. */
export class HostWorker implements WorkerProgram<HostOrder>, DatagramContext {
  readonly reactor: DatagramContext['reactor'];
  readonly index: number;
  readonly count: number;
  readonly shared: HostShared;
  readonly streams: WorkerStreams;
  readonly limit: Limit;
  readonly log: WorkerLog;
  private readonly worker: WorkerContext<HostReport, HostShared>;
  private readonly links: WorkerLinks;
  private readonly paths: Array<HostPath | ChannelPathOrder | undefined> = [];
  private readonly forwards = new Map<number, ForwardListener>();
  private readonly closing = new Set<ForwardListener>();
  private readonly datagrams: WorkerDatagrams;

  constructor(worker: WorkerContext<HostReport, HostShared>) {
    this.worker = worker;
    this.reactor = worker.reactor;
    this.index = worker.index;
    this.count = worker.count;
    this.shared = worker.shared;
    this.streams = new WorkerStreams(worker.reactor, worker.post);
    this.log = new WorkerLog(worker.post);
    this.limit = Limit.of(worker.shared.limit, this.log);
    this.datagrams = new WorkerDatagrams(this);
    this.links = new WorkerLinks(worker.reactor, worker.post);
  }

  take(order: HostOrder): void {
    if (this.streams.take(order) || this.datagrams.take(order) || this.links.take(order)) return;
    switch (order.type) {
      case 'path':
        return this.setPath(order.vm, order.path);
      case 'forward': {
        const { forward } = order;
        this.forwards.set(forward.id, new ForwardListener(forward, this, this.accepts(forward.vm)));
        return;
      }
      case 'client': {
        const forward = this.forwards.get(order.forward);
        this.reactor.own(order.fd);
        if (forward !== undefined) forward.serve(order.fd, this.peerOf(order.fd, forward.tcp));
        else this.reactor.reset(order.fd);
        return;
      }
      case 'channel': {
        const link = this.links.get(order.link);
        this.reactor.own(order.fd);
        if (link !== undefined)
          new DatagramChannel(this.reactor, link, order.fd).open(order.destination, order.details);
        else this.reactor.close(order.fd);
        return;
      }
      case 'spare':
        return this.takeSpare(order.vm, order.number, order.fd);
      case 'spares-over':
        this.sparesOf(order.vm, order.number)?.close();
        return;
      case 'listening':
        this.forwards.get(order.id)?.listenAgain();
        return;
      case 'probe': {
        const { ticket, destination } = order;
        const done = (errno: number) => this.worker.post({ type: 'probed', ticket, errno });
        const link = this.links.get(order.link);
        if (link === undefined) done(ERRNO.ECONNABORTED);
        else probeChannel(this.reactor, link, destination, done);
        return;
      }
      case 'close-forward':
        this.closeForward(order.id, order.now);
        return;
      case 'stop':
        for (const forward of [...this.forwards.values(), ...this.closing]) forward.close(true);
        this.datagrams.closeAll();
        this.links.closeAll();
        return this.reactor.stop();
    }
  }

  pathOf(vm: number): HostPath | undefined {
    const path = this.pathNow(vm);
    return path instanceof HostPath ? path : undefined;
  }

  linkOf(vm: number): WorkerLink | undefined {
    const path = this.pathNow(vm);
    if (path === undefined || path instanceof HostPath || path.worker !== this.index) return undefined;
    return this.links.get(path.link);
  }

  post(report: DatagramReport): void {
    this.worker.post(report);
  }

  dialFailed(forward: number, errno: number): void {
    this.worker.post({ type: 'dial-failed', forward, errno });
  }

  handOver(forward: number, fd: number): void {
    this.worker.post({ type: 'client', forward, fd });
  }

  /** The address of a client that another thread accepted. */
  private peerOf(fd: number, tcp: boolean): Buffer {
    return (tcp ? this.reactor.sockets.askPeer(fd) : undefined) ?? NOBODY;
  }

  private pathNow(vm: number): HostPath | ChannelPathOrder | undefined {
    const wanted = Atomics.load(this.shared.paths, vm);
    if (wanted === 0) return undefined;
    if (this.paths[vm]?.number !== wanted) this.worker.fetch();
    const path = this.paths[vm];
    return path?.number === wanted ? path : undefined;
  }

  private sparesOf(vm: number, number: number): PathSpares | undefined {
    const path = this.paths[vm];
    return path instanceof HostPath && path.number === number ? path.spares : undefined;
  }

  private takeSpare(vm: number, number: number, fd: number): void {
    this.reactor.own(fd);
    if (this.sparesOf(vm, number)?.serve(this.reactor, fd) === true) return;
    this.reactor.release(fd);
    this.worker.post({ type: 'spare', number, fd });
  }

  private setPath(vm: number, path: PathOrder): void {
    const short = (number: number): void => this.worker.post({ type: 'spares-short', number });
    this.paths[vm] = path.lane === 'dedicated' ? new HostPath(path, { ...this.worker, short }) : path;
    for (const forward of this.forwards.values()) if (forward.vm === vm) forward.accept(this.accepts(vm));
  }

  /** Clients of a VM whose link one worker carries are accepted there, also while that link is down. */
  private accepts(vm: number): boolean {
    const path = this.paths[vm];
    return path === undefined || path instanceof HostPath || path.worker === this.index;
  }

  private closeForward(id: number, now: boolean): void {
    const forward = this.forwards.get(id);
    this.forwards.delete(id);
    for (const each of [...this.closing]) if (each.idle) this.closing.delete(each);
    if (forward !== undefined) {
      forward.close(now);
      if (!forward.idle) this.closing.add(forward);
    }
    this.worker.post({ type: 'forward-closed', id });
  }
}

const NOBODY = Buffer.alloc(2);
