/**
 * The head of a spare stream: a dedicated stream that the VM shim opens before anybody needs it, where only the VM can
 * dial. It says to which link the stream belongs; the host agent answers nothing, and writes a preface when it takes the
 * stream for a connection. Little-endian; docs/protocol.md has the table.
 */
import { BridgeError } from './errors.ts';
import { STREAM_KEY_BYTES } from './preface.ts';

/** First two bytes. As a vpnkit header length they would mean 65,107, as text they are not `ht`. */
export const SPARE_MAGIC = Buffer.from([0x53, 0xfe]);
/** Longest head that is read, bytes: ours, with room for fields of later versions. */
export const MAX_SPARE_HEAD_BYTES = 512;

const VERSION = 1;
const KEY_AT = 6;
const HEAD_BYTES = KEY_AT + STREAM_KEY_BYTES;

/** @param streamKey of the link that asked for the stream */
export function encodeSpareHead(streamKey: Buffer): Buffer {
  const out = Buffer.alloc(HEAD_BYTES);
  SPARE_MAGIC.copy(out, 0);
  out.writeUInt16LE(HEAD_BYTES, 2);
  out[4] = VERSION;
  streamKey.copy(out, KEY_AT);
  return out;
}

/**
 * Decodes a head at the start of `bytes`; what a later version adds behind the key is skipped.
 * @returns undefined while it is incomplete; else the stream key and how many bytes the head took
 * @throws BridgeError PROTOCOL
 */
export function decodeSpareHead(bytes: Buffer): { value: Buffer; used: number } | undefined {
  if (bytes.length < 4) return undefined;
  if (!bytes.subarray(0, 2).equals(SPARE_MAGIC))
    throw new BridgeError('PROTOCOL', 'not the head of a spare stream');
  const length = bytes.readUInt16LE(2);
  if (length < HEAD_BYTES || length > MAX_SPARE_HEAD_BYTES)
    throw new BridgeError('PROTOCOL', `head of a spare stream of ${length} bytes`);
  if (bytes.length < length) return undefined;
  if (bytes[4] !== VERSION)
    throw new BridgeError('PROTOCOL', `head of a spare stream of version ${bytes[4]}`);
  return { value: Buffer.from(bytes.subarray(KEY_AT, HEAD_BYTES)), used: length };
}
