import { setTimeout as delay } from 'node:timers/promises';
import type { Exchange } from '../helpers/exchange.ts';

/** A request that takes longer has failed, milliseconds. */
const REQUEST_MS = 20_000;
const PAUSE_MS = 10;

/** Uses the forwards of another VM all the while: short transfers, one after the other. */
export class Bystander {
  private stopped = false;
  private served = 0;
  private slowest = 0;
  private readonly failures: string[] = [];
  private readonly running: Promise<void>;

  constructor(exchange: Exchange, ports: readonly number[]) {
    this.running = this.run(exchange, ports);
  }

  /** @throws Error when a request failed, or there was none */
  async stop(): Promise<{ served: number; slowestMs: number }> {
    this.stopped = true;
    await this.running;
    if (this.failures.length > 0) throw new Error(`a forward of another VM failed: ${this.failures[0]}`);
    return { served: this.served, slowestMs: Math.round(this.slowest) };
  }

  private async run(exchange: Exchange, ports: readonly number[]): Promise<void> {
    // Once more when it is stopped, so that every attack has one behind it.
    for (let last = false; !last; ) {
      last = this.stopped;
      for (const port of ports) {
        const begun = performance.now();
        const late = delay(REQUEST_MS, 'late', { ref: false });
        const how = await Promise.race([exchange.whole(port, 5_000, 20_000), late]).catch(
          (error: Error) => error.message,
        );
        if (how !== undefined) this.failures.push(how === 'late' ? `no answer in ${REQUEST_MS} ms` : how);
        this.served++;
        this.slowest = Math.max(this.slowest, performance.now() - begun);
      }
      await delay(PAUSE_MS);
    }
  }
}
