/** Where reaching a limit is said. */
export interface LimitLog {
  warn(fields: Record<string, unknown>, text: string): void;
}

/** A limit as it is told to another thread. */
export interface LimitShare {
  readonly name: string;
  readonly cells: Int32Array;
}

/**
 * One bounded resource: how many are in use, how many there may be, how often the limit was met.
 * Reaching it is logged once; the next line comes only after use has fallen to half. Threads that share the
 * cells share the limit.
 */
export class Limit {
  readonly name: string;
  private readonly cells: Int32Array;
  private readonly log: LimitLog | undefined;

  /**
   * @param name what is counted, for the log ("connections of tcp:0.0.0.0:80:…")
   * @param max the most that may be in use at once; undefined where the cells have it
   * @param cells where it is counted, as `limitCells` made them, when other threads count too
   */
  constructor(
    name: string,
    max: number | undefined,
    log?: LimitLog,
    cells: Int32Array = new Int32Array(CELLS),
  ) {
    this.name = name;
    this.log = log;
    this.cells = cells;
    if (max !== undefined) this.max = max;
  }

  /** The limit that a thread was told of, to count in the same cells. */
  static of({ name, cells }: LimitShare, log: LimitLog): Limit {
    return new Limit(name, undefined, log, cells);
  }

  /** For a thread that is to count too; it needs cells of `limitCells`. */
  get share(): LimitShare {
    const { name, cells } = this;
    return { name, cells };
  }

  /** The most that may be in use at once. */
  get max(): number {
    return Atomics.load(this.cells, MAX);
  }

  /** Holds for all threads at once. Those that are in use stay, though they may be more. */
  set max(max: number) {
    Atomics.store(this.cells, MAX, max);
  }

  /** How many are in use. */
  get used(): number {
    return Atomics.load(this.cells, USED);
  }

  /** How many were refused, ever. */
  get refused(): number {
    return Atomics.load(this.cells, REFUSED);
  }

  /** Takes one or as many as are needed together, or counts a refusal and answers false. */
  take(count = 1): boolean {
    const { cells } = this;
    let used = Atomics.load(cells, USED);
    while (used + count <= Atomics.load(cells, MAX)) {
      const seen = Atomics.compareExchange(cells, USED, used, used + count);
      if (seen === used) return true;
      used = seen;
    }
    this.refuse();
    return false;
  }

  /** Gives back one, or as many as somebody held who is no more. */
  give(count = 1): void {
    const left = Atomics.sub(this.cells, USED, count) - count;
    if (left <= this.max / 2 && Atomics.load(this.cells, TOLD) !== 0) Atomics.store(this.cells, TOLD, 0);
  }

  /** Counts one that the caller turned away or dropped because of this limit, and logs the first. */
  refuse(): void {
    Atomics.add(this.cells, REFUSED, 1);
    if (Atomics.exchange(this.cells, TOLD, 1) !== 0) return;
    this.log?.warn({ limit: this.name, max: this.max }, `limit reached: ${this.name} (${this.max})`);
  }
}

/** Takes one of each, or none of any; the one that refuses counts it. */
export function takeAll(limits: readonly Limit[]): boolean {
  for (let index = 0; index < limits.length; index++) {
    if (limits[index]!.take()) continue;
    for (let taken = 0; taken < index; taken++) limits[taken]!.give();
    return false;
  }
  return true;
}

/** Gives back to each what `takeAll` took, or as many as somebody held who is no more. */
export function giveAll(limits: readonly Limit[], count = 1): void {
  for (const limit of limits) limit.give(count);
}

const USED = 0;
const REFUSED = 1;
/** Not 0 when it is in the log that the limit was reached. */
const TOLD = 2;
const MAX = 3;
const CELLS = 4;

/** Cells of a limit that several threads share. */
export function limitCells(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT));
}
