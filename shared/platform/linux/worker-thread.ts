import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Ledger } from './ledger.ts';
import { loadLibc } from './libc.ts';
import { Reactor } from './reactor.ts';
import { Shortage } from './shortage.ts';
import type { WorkerStart } from './worker-pool.ts';

/** What a worker's program does in its loop. */
export interface WorkerProgram<Order> {
  take(order: Order): void;
}

export interface WorkerContext<Report, Shared> {
  readonly reactor: Reactor;
  readonly index: number;
  /** How many workers there are. */
  readonly count: number;
  readonly shared: Shared;
  /** @param transfer memory of the report that goes with it */
  readonly post: (report: Report, transfer?: readonly ArrayBuffer[]) => void;
  /** Takes the orders that have come, without waiting for the next turn. */
  readonly fetch: () => void;
}

/** Runs a program in this thread until it stops the reactor. */
export async function runWorker<Order, Report, Shared>(
  make: (context: WorkerContext<Report, Shared>) => WorkerProgram<Order>,
): Promise<void> {
  const start = workerData as WorkerStart;
  const port: MessagePort = start.port;
  const shortage = new Shortage(start.shortage, start.index);
  const reactor = new Reactor(await loadLibc(), new Ledger(start.ledger), shortage);
  const fetch = (): void => {
    for (;;) {
      const received = receiveMessageOnPort(port) as { message: Order } | undefined;
      if (received === undefined) return;
      program.take(received.message);
    }
  };
  const post = (report: Report, transfer?: readonly ArrayBuffer[]): void =>
    port.postMessage(report, transfer);
  const { index, count } = start;
  const program = make({ reactor, index, count, shared: start.shared as Shared, post, fetch });
  reactor.run(start.wakeFd, fetch, new Int32Array(start.wakeUps));
  port.close();
}
