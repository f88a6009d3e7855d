import { Batches } from '../../../shared/platform/linux/datagrams/batches.ts';
import { DatagramForward } from './datagram-forward.ts';
import type { DatagramOrder } from './datagram-orders.ts';
import type { DatagramContext } from './datagram-route.ts';

/** The UDP forwards of a worker of the host agent. Their memory is taken with the first one. */
export class WorkerDatagrams {
  private readonly context: DatagramContext;
  private readonly forwards = new Map<number, DatagramForward>();
  private batches: Batches | undefined;

  constructor(context: DatagramContext) {
    this.context = context;
  }

  /** @returns whether the order was for us */
  take(order: DatagramOrder | { readonly type: string }): boolean {
    const known = order as DatagramOrder;
    switch (known.type) {
      case 'udp-forward': {
        const { forward } = known;
        if (forward.worker !== this.context.index) return true;
        this.batches ??= new Batches(this.context.reactor.libc, true);
        this.forwards.set(forward.id, new DatagramForward(forward, this.context, this.batches));
        return true;
      }
      case 'udp-way':
        this.forwards.get(known.id)?.route.take(known.way);
        return true;
      case 'udp-close':
        this.close(known.id);
        return true;
      default:
        return false;
    }
  }

  closeAll(): void {
    for (const forward of this.forwards.values()) forward.close();
    this.forwards.clear();
  }

  private close(id: number): void {
    const forward = this.forwards.get(id);
    if (forward === undefined) return;
    this.forwards.delete(id);
    forward.close();
    this.context.post({ type: 'udp-closed', id });
  }
}
