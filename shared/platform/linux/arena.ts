import type { Libc } from './libc.ts';

/** Memory of one thread that the kernel reads and writes: a piece for each purpose, never given back. */
export class Arena {
  private readonly address: number;
  private readonly memory: Buffer;
  private used = 0;

  constructor(libc: Libc, bytes: number) {
    const { address, bytes: memory } = libc.allocate(bytes);
    this.address = address;
    this.memory = memory;
  }

  /** A piece of its own, aligned to 16 bytes. */
  carve(bytes: number): Piece {
    const start = this.used;
    const used = start + ((bytes + 15) & ~15);
    if (used > this.memory.length) throw new RangeError(`the arena has ${this.memory.length} bytes`);
    this.used = used;
    return { address: this.address + start, bytes: this.memory.subarray(start, start + bytes) };
  }
}

export interface Piece {
  readonly address: number;
  readonly bytes: Buffer;
}
