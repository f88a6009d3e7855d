import { BridgeError } from '../errors.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Every malformed message ends here: one code for all of them, so that a peer's bytes can cause no other. */
export function malformed(what: string): BridgeError {
  return new BridgeError('PROTOCOL', `malformed 9P message: ${what}`);
}

/** Reads the little-endian fields of one message and never past its end. */
export class ByteReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private offset: number;

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.offset = offset;
  }

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  u8(): number {
    return this.view.getUint8(this.advance(1));
  }

  u16(): number {
    return this.view.getUint16(this.advance(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.advance(4), true);
  }

  u64(): bigint {
    return this.view.getBigUint64(this.advance(8), true);
  }

  /** A view, not a copy. */
  take(count: number): Uint8Array {
    const start = this.advance(count);
    return this.bytes.subarray(start, start + count);
  }

  /**
   * A string of u16 length. Bad UTF-8 has the errno EINVAL and not the EPROTO of a broken message: the frame around it
   * is sound, and any user of a VM can make the kernel send such a name (`stat /port/$'\xff'`). See the session.
   */
  text(): string {
    const bytes = this.take(this.u16());
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new BridgeError('PROTOCOL', 'malformed 9P message: a string is not UTF-8', {
        errno: 'EINVAL',
        cause,
      });
    }
  }

  /** Says that the message must be over. */
  end(): void {
    if (this.remaining !== 0) throw malformed(`${this.remaining} bytes too many`);
  }

  private advance(count: number): number {
    const start = this.offset;
    if (count > this.remaining) throw malformed(`${count} bytes wanted, ${this.remaining} left`);
    this.offset += count;
    return start;
  }
}
