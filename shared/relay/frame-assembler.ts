import { BridgeError } from '../errors.ts';

/**
 * Cuts a byte stream into frames that begin with their own little-endian length (itself included). Pure: bytes in,
 * frames out. A frame that lies whole in one chunk is a view of it; only one that is split is copied, into a buffer of
 * exactly its size, so a peer that trickles costs no more than one frame.
 */
export class FrameAssembler {
  private readonly prefixBytes: 2 | 4;
  private readonly min: number;
  private readonly max: number;
  private readonly prefix: Buffer;
  private prefixUsed = 0;
  private frame: Buffer | undefined;
  private frameUsed = 0;
  private failed: BridgeError | undefined;

  /**
   * @param prefixBytes width of the length, bytes
   * @param min smallest length that a frame may state
   * @param max largest, which also bounds what is ever held
   */
  constructor(prefixBytes: 2 | 4, min: number, max: number) {
    this.prefixBytes = prefixBytes;
    this.min = min;
    this.max = max;
    this.prefix = Buffer.alloc(prefixBytes);
  }

  /**
   * @param onFrame called for each whole frame, length included; a view may be of `chunk`, so it is the callee's only
   *   until `chunk` is reused
   * @throws BridgeError PROTOCOL when a length is out of range or onFrame threw; the stream is lost then, and every
   *   later push throws the same
   */
  push(chunk: Buffer, onFrame: (frame: Buffer) => void): void {
    if (this.failed !== undefined) throw this.failed;
    try {
      let offset = this.finishSplitFrame(chunk, onFrame);
      while (chunk.length - offset >= this.prefixBytes) {
        const end = offset + this.readLength(chunk, offset);
        if (end > chunk.length) break;
        onFrame(chunk.subarray(offset, end));
        offset = end;
      }
      if (offset < chunk.length) this.keep(chunk, offset);
    } catch (error) {
      if (error instanceof BridgeError && error.code === 'PROTOCOL') this.failed = error;
      else this.failed = new BridgeError('PROTOCOL', 'a frame was not taken', { cause: error });
      throw error;
    }
  }

  /** Completes what an earlier chunk began, and answers where in this chunk the next frame begins. */
  private finishSplitFrame(chunk: Buffer, onFrame: (frame: Buffer) => void): number {
    if (this.prefixUsed === 0) return 0;
    const offset = this.keep(chunk, 0);
    const frame = this.frame;
    if (frame !== undefined && this.frameUsed === frame.length) {
      this.frame = undefined;
      this.prefixUsed = 0;
      onFrame(frame);
    }
    return offset;
  }

  /** Copies the part of the current frame that lies in `chunk` from `start`, and answers where that part ends. */
  private keep(chunk: Buffer, start: number): number {
    let offset = start;
    if (this.frame === undefined) {
      const copied = chunk.copy(
        this.prefix,
        this.prefixUsed,
        offset,
        offset + this.prefixBytes - this.prefixUsed,
      );
      this.prefixUsed += copied;
      offset += copied;
      if (this.prefixUsed < this.prefixBytes) return offset;
      this.frame = Buffer.allocUnsafe(this.readLength(this.prefix, 0));
      this.frameUsed = this.prefix.copy(this.frame);
    }
    const copied = chunk.copy(this.frame, this.frameUsed, offset);
    this.frameUsed += copied;
    return offset + copied;
  }

  private readLength(bytes: Buffer, offset: number): number {
    const length = this.prefixBytes === 2 ? bytes.readUInt16LE(offset) : bytes.readUInt32LE(offset);
    if (length >= this.min && length <= this.max) return length;
    throw new BridgeError('PROTOCOL', `UDP frame of ${length} bytes, expected ${this.min} to ${this.max}`);
  }
}
