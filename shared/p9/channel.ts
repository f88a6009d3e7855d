import { BridgeError } from '../errors.ts';
import { HEADER_BYTES } from './types.ts';

/**
 * Cuts a byte stream into 9P frames, however the stream was split. It keeps only what has arrived of an unfinished frame,
 * so announcing a large one costs the peer its bytes first. After an error it is of no more use.
 */
export class Channel {
  /** Largest frame that is accepted; Tversion changes it. */
  msize: number;
  private pieces: Uint8Array[] = [];
  private buffered = 0;

  constructor(msize: number) {
    this.msize = msize;
  }

  /** Takes what arrived. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.pieces.push(chunk);
    this.buffered += chunk.length;
  }

  /**
   * The next whole frame, size field included, or undefined until more arrives.
   * The size is checked as soon as it is there, against the msize of that moment.
   */
  next(): Uint8Array | undefined {
    if (this.buffered < 4) return undefined;
    const size = this.announced();
    if (size < HEADER_BYTES || size > this.msize) {
      throw new BridgeError(
        'PROTOCOL',
        `a 9P frame of ${size} bytes; ${HEADER_BYTES} to ${this.msize} are allowed`,
      );
    }
    if (this.buffered < size) return undefined;
    const bytes = this.join();
    const rest = bytes.subarray(size);
    this.pieces = rest.length > 0 ? [rest] : [];
    this.buffered = rest.length;
    return bytes.subarray(0, size);
  }

  /** Bytes that belong to a frame not yet whole. */
  get pending(): number {
    return this.buffered;
  }

  private announced(): number {
    const first = this.pieces[0] as Uint8Array;
    const head = first.length >= 4 ? first : this.join();
    return new DataView(head.buffer, head.byteOffset, 4).getUint32(0, true);
  }

  private join(): Uint8Array {
    const [first] = this.pieces;
    if (this.pieces.length === 1 && first !== undefined) return first;
    const whole = Buffer.concat(this.pieces, this.buffered);
    this.pieces = [whole];
    return whole;
  }
}
