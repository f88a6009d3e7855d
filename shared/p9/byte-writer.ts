import { BridgeError } from '../errors.ts';

const utf8 = new TextEncoder();

/** Writes the little-endian fields of one message into a buffer that grows. */
export class ByteWriter {
  private bytes = new Uint8Array(128);
  private view = new DataView(this.bytes.buffer);
  private used = 0;

  get length(): number {
    return this.used;
  }

  u8(value: number): void {
    const at = this.reserve(1);
    this.view.setUint8(at, value);
  }

  u16(value: number): void {
    const at = this.reserve(2);
    this.view.setUint16(at, value, true);
  }

  u32(value: number): void {
    const at = this.reserve(4);
    this.view.setUint32(at, value, true);
  }

  u64(value: bigint): void {
    const at = this.reserve(8);
    this.view.setBigUint64(at, value, true);
  }

  put(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }

  /** A string of u16 length. */
  text(value: string): void {
    const bytes = utf8.encode(value);
    if (bytes.length > 0xffff) {
      throw new BridgeError('BAD_REQUEST', `a string of ${bytes.length} bytes does not fit in a 9P message`);
    }
    this.u16(bytes.length);
    this.put(bytes);
  }

  /** Fills in a length that stands before what it counts. */
  setU16(offset: number, value: number): void {
    this.view.setUint16(offset, value, true);
  }

  setU32(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.used);
  }

  /** Makes room and says where. Call it before touching `bytes` or `view`, which growing replaces. */
  private reserve(count: number): number {
    const start = this.used;
    this.used += count;
    if (this.used > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.used, this.bytes.length * 2));
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return start;
  }
}
