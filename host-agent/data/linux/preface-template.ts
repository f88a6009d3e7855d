import { decodeDestination } from '../../../shared/destination.ts';
import { encodePreface, STREAM_KEY_BYTES } from '../../../shared/preface.ts';
import { writePeer } from './peer-address.ts';

/** The preface of a forward's streams, encoded once; only its stream id and its client differ from one to the next. */
export class PrefaceTemplate {
  private readonly bytes: Buffer;
  private readonly fields: Uint8Array;

  /** @param destination as encodeDestination has it. @param fields as encodeFields has them */
  constructor(destination: Uint8Array, streamKey: Uint8Array, fields: Uint8Array) {
    if (streamKey.length !== STREAM_KEY_BYTES)
      throw new RangeError(`stream key of ${streamKey.length} bytes`);
    this.fields = fields;
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
    const { bytes, fields } = this;
    bytes.copy(out, 0);
    out.writeUInt32LE(streamId, 6);
    // The last byte of the template is the family of a client that it does not name.
    let length = writePeer(out, bytes.length - 1, peer);
    if (fields.length > 0) {
      out.set(fields, length);
      length += fields.length;
    }
    out.writeUInt16LE(length, 2);
    return length;
  }
}
