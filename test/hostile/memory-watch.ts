import { setTimeout as delay } from 'node:timers/promises';

const SAMPLE_MS = 50;
/** What is back below the bound sooner was waiting for V8 to collect it, milliseconds. */
export const STAY_MS = 2_000;

/** Watches memory while an attack runs: only what stays above the bound for `STAY_MS` breaks it. */
export class MemoryWatch {
  /** How much there was at most, bytes. */
  most = 0;
  /** Whether it was above the bound for that long. */
  stayed = false;
  private readonly measure: () => number;
  private readonly bound: number;
  private readonly timer: NodeJS.Timeout;
  /** Since when it has been above the bound. */
  private above: number | undefined;

  /** @param measure answers how much there is now, bytes */
  constructor(measure: () => number, bound: number) {
    this.measure = measure;
    this.bound = bound;
    this.timer = setInterval(() => this.look(), SAMPLE_MS);
  }

  /** Resolves when it is known whether it stayed: at once, unless it is above the bound now. */
  async stop(): Promise<void> {
    this.look();
    while (this.above !== undefined && !this.stayed) {
      await delay(SAMPLE_MS);
      this.look();
    }
    clearInterval(this.timer);
  }

  private look(): void {
    const bytes = this.measure();
    const now = performance.now();
    this.most = Math.max(this.most, bytes);
    this.above = bytes > this.bound ? (this.above ?? now) : undefined;
    if (this.above !== undefined && now - this.above >= STAY_MS) this.stayed = true;
  }
}
