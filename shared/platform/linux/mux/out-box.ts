import { ERRNO } from '../../../errors.ts';
import type { Libc } from '../libc.ts';

/** Payload that is drawn at a time, and with it the most that waits in front of another channel, bytes. */
export const DRAW_BYTES = 256 * 1024;
/** Frame headers and other small buffers of one batch, bytes; a control message fits as well. */
const STAGING_BYTES = 320 * 1024;
/** The kernel takes 1,024 (UIO_MAXIOV). */
const MAX_PARTS = 512;
/** struct iovec: address and length, 8 bytes each. */
const PART_WORDS = 2;

/**
 * What one link has drawn from its channels and not yet handed to the kernel. Payload is read from a client's socket
 * straight into its memory and written from there; nothing new is drawn before all of it is gone.
 */
export class OutBox {
  private readonly libc: Libc;
  private readonly address: number;
  private readonly bytes: Buffer;
  private readonly vectorAddress: number;
  private readonly vector: BigUint64Array;
  private drawn = 0;
  private staged = 0;
  private parts = 0;
  private first = 0;
  /** What found no place in this batch. */
  private rest: Buffer[] = [];

  constructor(libc: Libc) {
    this.libc = libc;
    const memory = libc.allocate(DRAW_BYTES + STAGING_BYTES);
    this.address = memory.address;
    this.bytes = memory.bytes;
    const vector = libc.allocate(MAX_PARTS * PART_WORDS * 8);
    this.vectorAddress = vector.address;
    this.vector = new BigUint64Array(vector.bytes.buffer, vector.bytes.byteOffset, MAX_PARTS * PART_WORDS);
  }

  /** Nothing waits to be written. */
  get empty(): boolean {
    return this.first === this.parts && this.rest.length === 0;
  }

  /** Room for payload. */
  get room(): number {
    return DRAW_BYTES - this.drawn;
  }

  /** Reads payload from a descriptor. @returns what read(2) answers */
  read(fd: number, most: number): number {
    return this.libc.read(fd, this.address + this.drawn, Math.min(most, this.room));
  }

  /** The bytes that `read` has just read, which are kept from now on. */
  keep(count: number): Buffer {
    const start = this.drawn;
    this.drawn += count;
    return this.bytes.subarray(start, this.drawn);
  }

  /** A copy of the bytes that `read` has just read, whose room is free again. */
  copy(count: number): Buffer {
    return Buffer.from(this.bytes.subarray(this.drawn, this.drawn + count));
  }

  /** Forgets what was not written. */
  discard(): void {
    this.rest = [];
    this.begin();
  }

  /** Begins a batch; the last one is written. */
  begin(): void {
    this.drawn = 0;
    this.staged = 0;
    this.parts = 0;
    this.first = 0;
  }

  /** Puts the buffers of a batch in a row. */
  add(buffers: readonly Buffer[]): void {
    for (let index = 0; index < buffers.length; index++) {
      const buffer = buffers[index]!;
      const ours = buffer.buffer === this.bytes.buffer;
      if (this.parts === MAX_PARTS || (!ours && this.staged + buffer.length > STAGING_BYTES)) {
        this.rest = buffers.slice(index);
        return;
      }
      this.place(buffer, ours);
    }
  }

  /** @returns 0 when all of it is written, else the errno that stopped it */
  write(fd: number): number {
    const { libc, vector } = this;
    while (!this.empty) {
      if (this.first === this.parts) this.refill();
      const count = libc.writev(fd, this.vectorAddress + this.first * 16, this.parts - this.first);
      if (count < 0) {
        const errno = libc.errno();
        if (errno === ERRNO.EINTR) continue;
        return errno;
      }
      let left = count;
      while (this.first < this.parts && left > 0) {
        const at = this.first * PART_WORDS;
        const length = Number(vector[at + 1]!);
        if (length > left) {
          vector[at] = vector[at]! + BigInt(left);
          vector[at + 1] = BigInt(length - left);
          left = 0;
        } else {
          left -= length;
          this.first++;
        }
      }
    }
    return 0;
  }

  private place(buffer: Buffer, ours: boolean): void {
    let address = this.address + buffer.byteOffset - this.bytes.byteOffset;
    if (!ours) {
      const at = DRAW_BYTES + this.staged;
      buffer.copy(this.bytes, at);
      this.staged += buffer.length;
      address = this.address + at;
    }
    const at = this.parts * PART_WORDS;
    const { vector } = this;
    // Parts that lie behind each other are one: small frames in a row.
    if (this.parts > this.first && Number(vector[at - 2]!) + Number(vector[at - 1]!) === address) {
      vector[at - 1] = vector[at - 1]! + BigInt(buffer.length);
      return;
    }
    vector[at] = BigInt(address);
    vector[at + 1] = BigInt(buffer.length);
    this.parts++;
  }

  /** The rest goes where the headers before it were, payload of the batch stays where it is. */
  private refill(): void {
    const rest = this.rest;
    this.rest = [];
    this.staged = 0;
    this.parts = 0;
    this.first = 0;
    this.add(rest);
  }
}
