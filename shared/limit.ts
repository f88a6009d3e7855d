/** Where reaching a limit is said. */
export interface LimitLog {
  warn(fields: Record<string, unknown>, text: string): void;
}

/**
 * One bounded resource: how many are in use, how many there may be, how often the limit was met.
 * Reaching it is logged once; the next line comes only after use has fallen to half. Threads that share the
 * cells share the limit.
 */
export class Limit {
  readonly name: string;
  readonly max: number;
  private told = false;
  private readonly log: LimitLog | undefined;
  private readonly cells: Int32Array;

  /**
   * @param name what is counted, for the log ("connections of tcp:0.0.0.0:80:…")
   * @param max the most that may be in use at once
   * @param cells where it is counted, as `limitCells` made them, when other threads count too
   */
  constructor(name: string, max: number, log?: LimitLog, cells: Int32Array = new Int32Array(CELLS)) {
    this.name = name;
    this.max = max;
    this.log = log;
    this.cells = cells;
  }

  /** How many are in use. */
  get used(): number {
    return Atomics.load(this.cells, USED);
  }

  /** How many were refused, ever. */
  get refused(): number {
    return Atomics.load(this.cells, REFUSED);
  }

  /** Takes one, or counts a refusal and answers false. */
  take(): boolean {
    if (Atomics.add(this.cells, USED, 1) < this.max) return true;
    Atomics.sub(this.cells, USED, 1);
    this.refuse();
    return false;
  }

  /** Gives back one, or as many as somebody held who is no more. */
  give(count = 1): void {
    const left = Atomics.sub(this.cells, USED, count) - count;
    if (this.told && left <= this.max / 2) this.told = false;
  }

  /** Counts one that the caller turned away or dropped because of this limit, and logs the first. */
  refuse(): void {
    Atomics.add(this.cells, REFUSED, 1);
    if (this.told) return;
    this.told = true;
    this.log?.warn({ limit: this.name, max: this.max }, `limit reached: ${this.name} (${this.max})`);
  }
}

const USED = 0;
const REFUSED = 1;
const CELLS = 2;

/** Cells of a limit that several threads share. */
export function limitCells(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT));
}
