const TOLD = 0;
const FIRST_WORKER = 1;

/**
 * Whether descriptors or memory have run out. They are a whole process's, so its threads see the same cells, and it is said
 * once, whichever of them, and of their listeners, miss some.
 */
export class Shortage {
  private readonly cells: Int32Array;
  private readonly slot: number;

  /** @param index of the thread, which misses nothing yet */
  constructor(cells: Int32Array = Shortage.cells(1), index = 0) {
    this.cells = cells;
    this.slot = FIRST_WORKER + index;
    Atomics.store(cells, this.slot, 0);
    // A worker that has died may have been the last who missed some.
    if (!this.isMissed) Atomics.store(cells, TOLD, 0);
  }

  /** Cells for so many threads. */
  static cells(threads: number): Int32Array {
    const bytes = (FIRST_WORKER + threads) * Int32Array.BYTES_PER_ELEMENT;
    return new Int32Array(new SharedArrayBuffer(bytes));
  }

  /** A listener begins to miss some. @returns whether that is news */
  begin(): boolean {
    Atomics.add(this.cells, this.slot, 1);
    return Atomics.exchange(this.cells, TOLD, 1) === 0;
  }

  /** It misses none any more. @returns whether nobody does, and that is news */
  end(): boolean {
    Atomics.sub(this.cells, this.slot, 1);
    return !this.isMissed && Atomics.exchange(this.cells, TOLD, 0) === 1;
  }

  /** Whether some are missed in any thread. */
  private get isMissed(): boolean {
    for (let slot = FIRST_WORKER; slot < this.cells.length; slot++)
      if (Atomics.load(this.cells, slot) > 0) return true;
    return false;
  }
}
