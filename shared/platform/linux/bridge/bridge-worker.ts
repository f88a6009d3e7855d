import { WorkerLog } from '../messages.ts';
import { BRIDGED_VSOCK } from '../side.ts';
import type { WorkerContext, WorkerProgram } from '../worker-thread.ts';
import { BridgeDial } from './bridge-dial.ts';
import { BridgeListener } from './bridge-listener.ts';
import { BridgedStream } from './bridged-stream.ts';
import { DevicePump } from './device-pump.ts';
import type { BridgeOrder, BridgeReport } from './orders.ts';

/** The worker of the bridge: dials and accepts what Node cannot, and passes its bytes on. */
export class BridgeWorker implements WorkerProgram<BridgeOrder> {
  private readonly worker: WorkerContext<BridgeReport, undefined>;
  private readonly log: WorkerLog;
  private readonly streams = new Set<BridgedStream>();
  private readonly dials = new Map<number, BridgeDial>();
  private readonly listeners = new Map<number, BridgeListener>();
  private readonly pumps = new Set<DevicePump>();
  private stopping = false;

  constructor(worker: WorkerContext<BridgeReport, undefined>) {
    this.worker = worker;
    this.log = new WorkerLog(worker.post);
  }

  take(order: BridgeOrder): void {
    const { reactor } = this.worker;
    switch (order.type) {
      case 'adopt':
        reactor.own(order.stream);
        reactor.own(order.near);
        return this.join(order.stream, order.near);
      case 'device':
        reactor.own(order.device);
        reactor.own(order.near);
        return this.pump(order.device, order.near);
      case 'dial':
        return this.dial(order.id, Buffer.from(order.sockaddr));
      case 'cancel':
        this.dials.get(order.id)?.cancel();
        this.dials.delete(order.id);
        return;
      case 'listen': {
        const { id } = order.listener;
        const accepted = (fd: number): void => {
          const near = this.pass(fd);
          if (near !== undefined) this.worker.post({ type: 'accepted', id, near });
        };
        this.listeners.set(id, new BridgeListener(reactor, order.listener, this.log, accepted));
        return;
      }
      case 'unlisten':
        this.listeners.get(order.id)?.close();
        this.listeners.delete(order.id);
        return this.worker.post({ type: 'deaf', id: order.id });
      case 'stop':
        return this.stop();
    }
  }

  private dial(id: number, sockaddr: Buffer): void {
    const { reactor, post } = this.worker;
    const dial = new BridgeDial(reactor, sockaddr, (fd, errno) => {
      this.dials.delete(id);
      if (fd < 0) return post({ type: 'dial-failed', id, errno });
      const near = this.pass(fd);
      if (near === undefined) post({ type: 'dial-failed', id, errno: reactor.libc.errno() });
      else post({ type: 'dialled', id, near });
    });
    this.dials.set(id, dial);
    dial.start();
  }

  /** @returns the end of a pair that stands for a stream from now on, for the main thread; undefined with errno */
  private pass(fd: number): number | undefined {
    const { reactor } = this.worker;
    const pair = reactor.sockets.pair();
    if (pair === undefined) {
      const errno = reactor.libc.errno();
      this.log.warn({ errno }, 'a stream was closed: there is no descriptor for its bridge');
      reactor.close(fd);
      return undefined;
    }
    reactor.own(pair[0]);
    this.join(fd, pair[0]);
    return pair[1];
  }

  private join(fd: number, near: number): void {
    const { reactor } = this.worker;
    const stream = new BridgedStream(reactor, fd, BRIDGED_VSOCK, () => {
      if (this.streams.delete(stream) && this.stopping) reactor.lingering--;
    });
    this.streams.add(stream);
    stream.join(near);
  }

  private pump(device: number, near: number): void {
    const { reactor } = this.worker;
    const pump: DevicePump = new DevicePump(reactor, device, near, () => {
      if (this.pumps.delete(pump) && this.stopping) reactor.lingering--;
    });
    if (!pump.closed) this.pumps.add(pump);
  }

  /** The main thread has closed its ends: what it wrote before that goes out, within the time that a stop has. */
  private stop(): void {
    const { reactor } = this.worker;
    this.stopping = true;
    for (const dial of this.dials.values()) dial.cancel();
    for (const listener of this.listeners.values()) listener.close();
    reactor.lingering += this.streams.size + this.pumps.size;
    reactor.stop();
  }
}
