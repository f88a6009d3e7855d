import { decodeDestination } from '../../../shared/destination.ts';
import { AF_INET, AF_INET6 } from '../../../shared/platform/linux/constants.ts';
import { encodePreface, STREAM_KEY_BYTES } from '../../../shared/preface.ts';

/** The preface of a forward's streams, encoded once; only its stream id and its client differ from one to the next. */
export class PrefaceTemplate {
  private readonly bytes: Buffer;

  /** @param destination as encodeDestination has it */
  constructor(destination: Uint8Array, streamKey: Uint8Array) {
    if (streamKey.length !== STREAM_KEY_BYTES)
      throw new RangeError(`stream key of ${streamKey.length} bytes`);
    this.bytes = encodePreface({
      streamId: 0,
      streamKey: Buffer.from(streamKey),
      destination: decodeDestination(Buffer.from(destination), 0).destination,
    });
  }

  /**
   * Writes a preface to the start of `out`.
   * @param peer socket address of the client as the kernel gave it
   * @returns its length
   */
  write(out: Buffer, streamId: number, peer: Buffer): number {
    const { bytes } = this;
    bytes.copy(out, 0);
    out.writeUInt32LE(streamId, 6);
    const family = peer[0]! | (peer[1]! << 8);
    const at = bytes.length - 1; // the last byte of the template is the family of a client that it does not name
    let length = bytes.length;
    if (family === AF_INET || family === AF_INET6) {
      const v4 = family === AF_INET;
      out[at] = v4 ? 4 : 6;
      const size = v4 ? 4 : 16;
      peer.copy(out, at + 1, v4 ? 4 : 8, v4 ? 8 : 24);
      out[at + 1 + size] = peer[3]!; // network order there, little-endian here
      out[at + 2 + size] = peer[2]!;
      length = at + 3 + size;
    }
    out.writeUInt16LE(length, 2);
    return length;
  }
}
