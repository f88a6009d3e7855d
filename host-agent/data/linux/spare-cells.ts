import { MAX_SPARES } from '../../../shared/link/spare-wish.ts';

const CLOSED = 0;
const WAITING_AT = 1;

/**
 * Descriptors of spare streams in memory that all threads see: each thread takes what it needs, and no two the same.
 * Beside them stands how many clients wait in each worker, so that a stream that comes goes to one of those.
 *
 * Who waits counts itself first and looks for a stream again then; who puts a stream down looks for those who wait again
 * then. So one of the two sees the other.
 */
export class SpareCells {
  readonly cells: Int32Array;
  private readonly workers: number;
  private readonly slotsAt: number;

  /** @param cells of another thread, to share them */
  constructor(workers: number, cells?: Int32Array) {
    this.workers = workers;
    this.slotsAt = WAITING_AT + workers;
    const bytes = (this.slotsAt + MAX_SPARES) * Int32Array.BYTES_PER_ELEMENT;
    this.cells = cells ?? new Int32Array(new SharedArrayBuffer(bytes));
  }

  get closed(): boolean {
    return Atomics.load(this.cells, CLOSED) !== 0;
  }

  /** Nothing is put down any more. */
  close(): void {
    Atomics.store(this.cells, CLOSED, 1);
  }

  /** @returns false when there is no room, or it is closed; the descriptor is the caller's still */
  push(fd: number): boolean {
    const { cells, slotsAt } = this;
    for (let slot = slotsAt; slot < slotsAt + MAX_SPARES; slot++) {
      if (this.closed) return false;
      if (Atomics.compareExchange(cells, slot, 0, fd + 1) === 0) return true;
    }
    return false;
  }

  /** @returns a descriptor that is the caller's, or -1 */
  pop(): number {
    const { cells, slotsAt } = this;
    for (let slot = slotsAt; slot < slotsAt + MAX_SPARES; slot++) {
      if (Atomics.load(cells, slot) === 0) continue;
      const fd = Atomics.exchange(cells, slot, 0) - 1;
      if (fd >= 0) return fd;
    }
    return -1;
  }

  /** Counts a client of a worker that waits and has been promised no stream. */
  wait(worker: number): void {
    Atomics.add(this.cells, WAITING_AT + worker, 1);
  }

  /** Takes one out of that count: it waits no more, or a stream is on its way to it. */
  leave(worker: number): void {
    Atomics.sub(this.cells, WAITING_AT + worker, 1);
  }

  /** A worker is gone, with all who waited there. */
  forget(worker: number): void {
    Atomics.store(this.cells, WAITING_AT + worker, 0);
  }

  /** Of all workers. */
  get waiting(): number {
    let sum = 0;
    for (let worker = 0; worker < this.workers; worker++) sum += Math.max(0, this.waitingIn(worker));
    return sum;
  }

  /** The worker where most wait; -1 when nobody does. */
  get neediest(): number {
    let neediest = -1;
    let most = 0;
    for (let worker = 0; worker < this.workers; worker++) {
      const waiting = this.waitingIn(worker);
      if (waiting <= most) continue;
      most = waiting;
      neediest = worker;
    }
    return neediest;
  }

  private waitingIn(worker: number): number {
    return Atomics.load(this.cells, WAITING_AT + worker);
  }
}
