import { setTimeout as delay } from 'node:timers/promises';

const SAMPLE_MS = 50;
/** What is back below the bound sooner was waiting for V8 to collect it, milliseconds. */
export const STAY_MS = 2_000;
const ASK_MS = 500;

/**
 * Watches memory while an attack runs: only what stays above the bound for `STAY_MS` breaks it. V8 may leave garbage for as
 * long as nothing happens, so it is asked to collect it meanwhile.
 */
export class MemoryWatch {
  /** How much there was at most, bytes. */
  most = 0;
  /** Whether it was above the bound for that long. */
  stayed = false;
  private readonly measure: () => number;
  private readonly bound: number;
  private readonly collect: () => void;
  private readonly timer: NodeJS.Timeout;
  /** Since when it has been above the bound. */
  private above: number | undefined;
  private asked = Number.NEGATIVE_INFINITY;

  /**
   * @param measure answers how much there is now, bytes
   * @param collect has garbage collected
   */
  constructor(measure: () => number, bound: number, collect: () => void) {
    this.measure = measure;
    this.bound = bound;
    this.collect = collect;
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
    if (this.above === undefined) return;
    if (now - this.above >= STAY_MS) this.stayed = true;
    if (now - this.asked < ASK_MS) return;
    this.asked = now;
    this.collect();
  }
}
