/**
 * The preface of a dedicated stream and the answer to it: fixed binary layout, decoded by hand because it
 * is paid on every connection. Little-endian; docs/protocol.md has the table.
 */
import { type Destination, decodeDestination, encodeDestination, MAX_PATH_BYTES } from './destination.ts';
import { BridgeError } from './errors.ts';
import { decodeDetails, encodeDetails, MAX_DETAILS_BYTES, type StreamDetails } from './stream-details.ts';

/** First two bytes. As a vpnkit header length they would mean 65,104, as text they are not `ht`. */
export const PREFACE_MAGIC = Buffer.from([0x50, 0xfe]);
export const STREAM_KEY_BYTES = 16;
/** Longest preface that is read, bytes. */
export const MAX_PREFACE_BYTES = 26 + 3 + MAX_PATH_BYTES + MAX_DETAILS_BYTES;
export const RESULT_BYTES = 8;

const VERSION = 1;
const FIXED_BYTES = 26;

export interface Preface extends StreamDetails {
  /** Number of the stream, unique among those of one opener; resets name it. */
  readonly streamId: number;
  /** The key that the link drew; it ties the stream to the link. */
  readonly streamKey: Buffer;
  readonly destination: Destination;
}

export function encodePreface(preface: Preface): Buffer {
  const fixed = Buffer.alloc(FIXED_BYTES);
  PREFACE_MAGIC.copy(fixed, 0);
  fixed[4] = VERSION;
  fixed.writeUInt32LE(preface.streamId, 6);
  preface.streamKey.copy(fixed, 10);
  const whole = Buffer.concat([fixed, encodeDestination(preface.destination), encodeDetails(preface)]);
  whole.writeUInt16LE(whole.length, 2);
  return whole;
}

/**
 * Decodes a preface at the start of `bytes`.
 * @returns undefined while it is incomplete; else the preface and how many bytes it took
 * @throws BridgeError PROTOCOL
 */
export function decodePreface(bytes: Buffer): { value: Preface; used: number } | undefined {
  if (bytes.length < 4) return undefined;
  if (!bytes.subarray(0, 2).equals(PREFACE_MAGIC)) throw new BridgeError('PROTOCOL', 'not a stream preface');
  const length = bytes.readUInt16LE(2);
  if (length < FIXED_BYTES + 4 || length > MAX_PREFACE_BYTES)
    throw new BridgeError('PROTOCOL', `stream preface of ${length} bytes`);
  if (bytes.length < length) return undefined;
  const whole = bytes.subarray(0, length);
  if (whole[4] !== VERSION) throw new BridgeError('PROTOCOL', `stream preface of version ${whole[4]}`);
  const { destination, end } = decodeDestination(whole, FIXED_BYTES);
  const streamKey = Buffer.from(whole.subarray(10, FIXED_BYTES));
  const streamId = whole.readUInt32LE(6);
  return { value: { streamId, streamKey, destination, ...decodeDetails(whole, end, length) }, used: length };
}

/** @param errno 0 when the destination was reached, else a Linux errno number */
export function encodeResult(errno: number): Buffer {
  const out = Buffer.alloc(RESULT_BYTES);
  PREFACE_MAGIC.copy(out, 0);
  out[2] = VERSION;
  out.writeUInt32LE(errno, 4);
  return out;
}

/** Decodes the answer to a preface: the errno. @throws BridgeError PROTOCOL */
export function decodeResult(bytes: Buffer): { value: number; used: number } | undefined {
  if (bytes.length < RESULT_BYTES) return undefined;
  if (!bytes.subarray(0, 2).equals(PREFACE_MAGIC) || bytes[2] !== VERSION)
    throw new BridgeError('PROTOCOL', 'not the answer to a stream preface');
  return { value: bytes.readUInt32LE(4), used: RESULT_BYTES };
}
