/**
 * Which descriptors a worker owns: one bit each, in memory that outlives the worker, so that whoever replaces
 * it can close what it left open. The main thread notes what it hands to the worker, before the worker knows of it.
 */
export class Ledger {
  readonly shared: SharedArrayBuffer;
  private readonly words: Uint32Array;

  /** @param shared of another thread's ledger, to look into it */
  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(MAX_DESCRIPTORS / 8)) {
    this.shared = shared;
    this.words = new Uint32Array(shared);
  }

  add(fd: number): void {
    Atomics.or(this.words, fd >> 5, 1 << (fd & 31));
  }

  remove(fd: number): void {
    Atomics.and(this.words, fd >> 5, ~(1 << (fd & 31)));
  }

  /** Every descriptor that is noted. */
  list(): number[] {
    const all: number[] = [];
    for (const [index, word] of this.words.entries())
      for (let bit = 0; word !== 0 && bit < 32; bit++)
        if (((word >>> bit) & 1) === 1) all.push(index * 32 + bit);
    return all;
  }
}

/** fs.nr_open's default is 1,048,576, and a process with more than a quarter of it would be ours no longer. */
export const MAX_DESCRIPTORS = 262_144;
