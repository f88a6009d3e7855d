import type { Logger } from './logger.ts';

/**
 * One bounded resource: how many are in use, how many there may be, how often the limit was met.
 * Reaching it is logged once; the next line comes only after use has fallen to half.
 */
export class Limit {
  readonly name: string;
  readonly max: number;
  used = 0;
  /** How many were refused, ever. */
  refused = 0;
  private told = false;
  private readonly log: Logger | undefined;

  /**
   * @param name what is counted, for the log ("connections of tcp:0.0.0.0:80:…")
   * @param max the most that may be in use at once
   */
  constructor(name: string, max: number, log?: Logger) {
    this.name = name;
    this.max = max;
    this.log = log;
  }

  /** Takes one, or counts a refusal and answers false. */
  take(): boolean {
    if (this.used >= this.max) {
      this.refuse();
      return false;
    }
    this.used++;
    return true;
  }

  /** Gives one back. */
  give(): void {
    this.used--;
    if (this.told && this.used <= this.max / 2) this.told = false;
  }

  /** Counts one that the caller turned away or dropped because of this limit, and logs the first. */
  refuse(): void {
    this.refused++;
    if (this.told) return;
    this.told = true;
    this.log?.warn({ limit: this.name, max: this.max }, `limit reached: ${this.name} (${this.max})`);
  }
}
