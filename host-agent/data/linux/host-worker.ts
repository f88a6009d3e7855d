import { Limit } from '../../../shared/limit.ts';
import { WorkerLog } from '../../../shared/platform/linux/messages.ts';
import { WorkerStreams } from '../../../shared/platform/linux/worker-streams.ts';
import type { WorkerContext, WorkerProgram } from '../../../shared/platform/linux/worker-thread.ts';
import type { DatagramReport } from './datagram-orders.ts';
import type { DatagramContext } from './datagram-route.ts';
import { ForwardListener } from './forward-listener.ts';
import { HostPath } from './host-path.ts';
import type { HostOrder, HostReport, HostShared } from './orders.ts';
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
  private readonly paths: Array<HostPath | undefined> = [];
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
  }

  take(order: HostOrder): void {
    if (this.streams.take(order) || this.datagrams.take(order)) return;
    switch (order.type) {
      case 'path':
        this.paths[order.vm] = new HostPath(order.path);
        return;
      case 'forward':
        this.forwards.set(order.forward.id, new ForwardListener(order.forward, this));
        return;
      case 'close-forward':
        this.closeForward(order.id, order.now);
        return;
      case 'stop':
        for (const forward of [...this.forwards.values(), ...this.closing]) forward.close(true);
        this.datagrams.closeAll();
        return this.reactor.stop();
    }
  }

  pathOf(vm: number): HostPath | undefined {
    const wanted = Atomics.load(this.shared.paths, vm);
    if (wanted === 0) return undefined;
    if (this.paths[vm]?.number !== wanted) this.worker.fetch();
    const path = this.paths[vm];
    return path?.number === wanted ? path : undefined;
  }

  post(report: DatagramReport): void {
    this.worker.post(report);
  }

  handOver(forward: number, fd: number): void {
    this.worker.post({ type: 'client', forward, fd });
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
