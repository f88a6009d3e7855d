import type { LimitLog } from './limit.ts';

/** A rate limit as it is told to another thread. */
export interface RateShare {
  readonly name: string;
  readonly cells: Int32Array;
}

/** The longest burst, microseconds of the rate. */
const BURST = 1_000_000;

/**
 * So many a second, and at most a second's worth at once: the virtual scheduling algorithm of GCRA (ITU-T I.371, annex
 * A), whose one number is when the bucket will be empty. Threads that share the cells share the limit. Reaching it is
 * logged once; the next line comes only after the bucket was half empty.
 */
export class RateLimit {
  readonly name: string;
  private readonly cells: Int32Array;
  private readonly log: LimitLog | undefined;
  private readonly now: () => number;

  /**
   * @param name what is counted, for the log
   * @param perSecond from 1 to 1,000,000, carried out in whole microseconds between two; undefined where the cells have it
   * @param now microseconds, of a clock that all threads share; its lowest 32 bits are used
   */
  constructor(
    name: string,
    perSecond: number | undefined,
    log?: LimitLog,
    now = microseconds,
    cells = rateCells(),
  ) {
    this.name = name;
    this.cells = cells;
    this.log = log;
    this.now = now;
    if (perSecond !== undefined) this.perSecond = perSecond;
  }

  /** The limit that a thread was told of. */
  static of({ name, cells }: RateShare, log: LimitLog): RateLimit {
    return new RateLimit(name, undefined, log, microseconds, cells);
  }

  get share(): RateShare {
    const { name, cells } = this;
    return { name, cells };
  }

  get perSecond(): number {
    return BURST / Atomics.load(this.cells, INTERVAL);
  }

  /** Holds for all threads at once. */
  set perSecond(rate: number) {
    Atomics.store(this.cells, INTERVAL, Math.ceil(BURST / rate));
  }

  /** How many were refused, ever. */
  get refused(): number {
    return Atomics.load(this.cells, REFUSED);
  }

  /** Takes one, or counts a refusal and answers false. */
  take(): boolean {
    const { cells } = this;
    const interval = Atomics.load(cells, INTERVAL);
    const now = this.now() | 0;
    for (;;) {
      const empty = Atomics.load(cells, EMPTY_AT);
      let ahead = (empty - now) | 0;
      // Long ago: the clock has gone once around, and what looks like the future is the past.
      if (ahead < 0 || ahead > BURST) ahead = 0;
      if (ahead > BURST - interval) {
        this.refuse();
        return false;
      }
      if (Atomics.compareExchange(cells, EMPTY_AT, empty, (now + ahead + interval) | 0) !== empty) continue;
      if (ahead < BURST / 2 && Atomics.load(cells, TOLD) !== 0) Atomics.store(cells, TOLD, 0);
      return true;
    }
  }

  private refuse(): void {
    Atomics.add(this.cells, REFUSED, 1);
    if (Atomics.exchange(this.cells, TOLD, 1) !== 0) return;
    const max = Math.round(this.perSecond);
    this.log?.warn({ limit: this.name, max }, `limit reached: ${this.name} (${max} a second)`);
  }
}

const EMPTY_AT = 0;
const INTERVAL = 1;
const REFUSED = 2;
/** Not 0 when it is in the log that the limit was reached. */
const TOLD = 3;
const CELLS = 4;

function rateCells(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT));
}

/** The monotonic clock, which is one for all threads of a process (uv_hrtime). */
function microseconds(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000_000 + Math.floor(nanoseconds / 1_000);
}
