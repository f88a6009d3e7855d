/**
 * The worker threads of the engine, seen from the main thread. A worker that ends without being asked is
 * replaced: what it left open is closed (its clients would hang for ever), and its successor is told
 * everything that a new worker has to know.
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { messageOf } from '../../errors.ts';
import type { Logger } from '../../logger.ts';
import { Arena } from './arena.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK } from './constants.ts';
import { systemError } from './errno.ts';
import { Ledger } from './ledger.ts';
import type { Libc } from './libc.ts';
import { Shortage } from './shortage.ts';
import { Sockets } from './sockets.ts';

/** Workers that die one after the other are not replaced faster than this, milliseconds. */
const RESPAWN_MS = 100;

/**
 * V8 would let the memory for new objects of each thread grow to 48 MB under a flood and keep it; what a worker makes in its
 * everyday fits into a fraction of that.
 */
const RESOURCES = { maxYoungGenerationSizeMb: 24 };

/** What a worker is started with. */
export interface WorkerStart {
  readonly index: number;
  /** How many workers there are. */
  readonly count: number;
  readonly port: MessagePort;
  readonly wakeFd: number;
  readonly ledger: SharedArrayBuffer;
  /** Wake-ups of its loop, one Int32. */
  readonly wakeUps: SharedArrayBuffer;
  /** Of Shortage. */
  readonly shortage: Int32Array;
  /** What the program gives to all its workers. */
  readonly shared: unknown;
}

export interface WorkerPoolOptions<Order, Report> {
  readonly libc: Libc;
  readonly entry: URL;
  readonly count: number;
  readonly shared: unknown;
  readonly log: Logger;
  /** The orders that a new worker needs, in their sequence. */
  readonly briefing: () => Order[];
  readonly onReport: (report: Report, reply: (order: Order) => void, index: number) => void;
  /** A worker has died; its descriptors are closed already. */
  readonly onDeath: (index: number) => void;
}

interface Slot<Order> {
  readonly index: number;
  readonly worker: Worker;
  readonly wakeUps: Int32Array;
  readonly ledger: Ledger;
  post(order: Order): void;
}

export class WorkerPool<Order, Report> {
  private readonly options: WorkerPoolOptions<Order, Report>;
  private readonly slots: Array<Slot<Order> | undefined> = [];
  private readonly sockets: Sockets;
  private readonly number: { readonly address: number; readonly bytes: Buffer };
  private readonly wakeFds = new Set<number>();
  private readonly shortage: Int32Array;
  private closing = false;

  constructor(options: WorkerPoolOptions<Order, Report>) {
    this.options = options;
    this.shortage = Shortage.cells(options.count);
    const arena = new Arena(options.libc, 4096);
    this.sockets = new Sockets(options.libc, arena);
    this.number = arena.carve(8);
    this.number.bytes.writeBigUInt64LE(1n);
    // Without it a process that exits while its workers sleep would wait for them.
    process.on('exit', this.wakeAll);
    for (let index = 0; index < options.count; index++) this.start(index);
  }

  /** How many there are. */
  get count(): number {
    return this.options.count;
  }

  /** How often each loop has come out of its sleep. */
  get wakeUps(): number[] {
    return this.slots.map((slot) => slot?.wakeUps[0] ?? 0);
  }

  /** The threads themselves, for tests. */
  get threads(): Worker[] {
    return this.slots.flatMap((slot) => (slot === undefined ? [] : [slot.worker]));
  }

  /** Sends an order to every worker. @returns the workers that live, by index */
  broadcast(order: Order): number[] {
    const alive = this.slots.filter((slot) => slot !== undefined);
    for (const slot of alive) slot.post(order);
    return alive.map(({ index }) => index);
  }

  /** Sends an order to one worker. @returns whether it lives */
  post(index: number, order: Order): boolean {
    const slot = this.slots[index];
    slot?.post(order);
    return slot !== undefined;
  }

  /** The same with an order that hands over a descriptor, which is the worker's from now on, or the caller's still. */
  give(index: number, fd: number, order: Order): boolean {
    this.slots[index]?.ledger.add(fd);
    return this.post(index, order);
  }

  /** The workers that live, by index. */
  get alive(): number[] {
    return this.slots.flatMap((slot) => (slot === undefined ? [] : [slot.index]));
  }

  /** Ends all. @param order makes a worker stop by itself, and close what it has */
  async close(order: Order): Promise<void> {
    this.closing = true;
    const ended = this.threads.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
    this.broadcast(order);
    await Promise.all(ended);
    process.off('exit', this.wakeAll);
    for (const fd of this.wakeFds) this.options.libc.close(fd);
    this.wakeFds.clear();
  }

  private readonly wakeAll = (): void => {
    for (const fd of this.wakeFds) this.wake(fd);
  };

  private wake(fd: number): void {
    this.options.libc.write(fd, this.number.address, 8);
  }

  private start(index: number): void {
    const { libc, entry, shared, log, briefing, onReport } = this.options;
    const wakeFd = libc.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wakeFd < 0) throw systemError('eventfd', 'a worker', libc.errno());
    this.wakeFds.add(wakeFd);
    const ledger = new Ledger();
    const wakeUps = new SharedArrayBuffer(4);
    const { port1, port2 } = new MessageChannel();
    const workerData: WorkerStart = {
      index,
      count: this.count,
      port: port2,
      wakeFd,
      ledger: ledger.shared,
      wakeUps,
      shortage: this.shortage,
      shared,
    };
    const name = `portferry-${index}`;
    const worker = new Worker(entry, { workerData, transferList: [port2], name, resourceLimits: RESOURCES });
    const post = (order: Order): void => {
      port1.postMessage(order);
      this.wake(wakeFd);
    };
    this.slots[index] = { index, worker, wakeUps: new Int32Array(wakeUps), ledger, post };
    port1.on('message', (report: Report) => onReport(report, post, index));
    port1.unref();
    worker.on('error', (error) =>
      log.error({ err: error, worker: index }, `worker failed: ${messageOf(error)}`),
    );
    worker.on('exit', () => {
      this.slots[index] = undefined;
      this.wakeFds.delete(wakeFd);
      libc.close(wakeFd);
      port1.close();
      this.bury(index, ledger);
    });
    for (const order of briefing()) post(order);
  }

  private bury(index: number, ledger: Ledger): void {
    const { libc, log, onDeath } = this.options;
    const left = ledger.list();
    for (const fd of left) {
      this.sockets.resetOnClose(fd);
      libc.close(fd);
    }
    if (this.closing) return;
    log.error({ worker: index, closed: left.length }, 'a worker thread has ended; another takes its place');
    onDeath(index);
    this.replace(index);
  }

  private replace(index: number): void {
    setTimeout(() => {
      if (this.closing) return;
      try {
        this.start(index);
      } catch (error) {
        this.options.log.error(
          { err: error, worker: index },
          `no worker takes its place: ${messageOf(error)}`,
        );
        this.replace(index);
      }
    }, RESPAWN_MS);
  }
}
