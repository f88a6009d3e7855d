import type { LimitLog } from './limit.ts';

/** Lines that are warnings, a minute. */
const WARNINGS_PER_MINUTE = 10;

interface WarningLog extends LimitLog {
  debug(fields: Record<string, unknown>, text: string): void;
}

/** A log for what a stranger can have said as often as it likes: ten lines a minute are warnings, the others of level debug. */
export class SparseWarnings implements LimitLog {
  private readonly log: WarningLog;
  private readonly now: () => number;
  private minute = Number.NEGATIVE_INFINITY;
  private said = 0;

  /** @param now milliseconds of a clock that never runs backwards */
  constructor(log: WarningLog, now: () => number = () => performance.now()) {
    this.log = log;
    this.now = now;
  }

  warn(fields: Record<string, unknown>, text: string): void {
    const now = this.now();
    if (now - this.minute >= 60_000) {
      this.minute = now;
      this.said = 0;
    }
    const level = ++this.said > WARNINGS_PER_MINUTE ? 'debug' : 'warn';
    const last = this.said === WARNINGS_PER_MINUTE ? '; more within a minute are lines of level debug' : '';
    this.log[level](fields, `${text}${last}`);
  }
}
