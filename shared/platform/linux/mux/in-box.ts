import type { Libc } from '../libc.ts';

const IN_BYTES = 256 * 1024;

/** What a worker reads from links: one read at a time, and used before the next. */
export class InBox {
  private readonly libc: Libc;
  private readonly address: number;
  private readonly bytes: Buffer;

  constructor(libc: Libc) {
    this.libc = libc;
    const { address, bytes } = libc.allocate(IN_BYTES);
    this.address = address;
    this.bytes = bytes;
  }

  /** What one read can bring. */
  get size(): number {
    return IN_BYTES;
  }

  /** @returns what read(2) answers */
  read(fd: number): number {
    return this.libc.read(fd, this.address, IN_BYTES);
  }

  /** What was read, until the next read. */
  take(count: number): Buffer {
    return this.bytes.subarray(0, count);
  }

  /** Where the bytes of a slice of what was read lie; undefined for other buffers. */
  addressOf(slice: Buffer): number | undefined {
    if (slice.buffer !== this.bytes.buffer) return undefined;
    return this.address + slice.byteOffset - this.bytes.byteOffset;
  }
}
