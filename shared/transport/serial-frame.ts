/**
 * Frames of a session over a serial port (docs/architecture.md). A header of 28 bytes: magic (4), type (u8), zero (u8), length
 * of the payload (u16), 16 bytes that the type gives a meaning, CRC-32 of the 24 bytes before. Little-endian.
 */
import { crc32 } from './crc32.ts';

export const HEADER_BYTES = 28;
export const NONCE_BYTES = 8;
export const MAX_PAYLOAD = 16 * 1024;
/** No UTF-8 text has its first byte. */
export const MAGIC: Buffer = Buffer.from([0xf7, 0x70, 0x66, 0x01]);
export const NOBODY: Buffer = Buffer.alloc(NONCE_BYTES);

const TYPES = ['hello', 'data', 'beat', 'end'] as const;

export type SerialHeader =
  /** Who the sender is, and whom it has heard: zeros before it has heard anybody. */
  | { readonly type: 'hello'; readonly from: Buffer; readonly heard: Buffer }
  /** `to` is the nonce of the receiver, `sequence` the number of the frame in its session. */
  | {
      readonly type: 'data' | 'beat' | 'end';
      readonly to: Buffer;
      readonly sequence: number;
      readonly length: number;
      readonly crc: number;
    };

export function encodeSerialHello(from: Buffer, heard: Buffer): Buffer {
  const header = begin('hello', 0, from);
  heard.copy(header, 16);
  return seal(header);
}

/** @param payload empty but for `data`; at most MAX_PAYLOAD bytes */
export function encodeSerialFrame(
  type: 'data' | 'beat' | 'end',
  to: Buffer,
  sequence: number,
  payload: Buffer = Buffer.alloc(0),
): readonly [header: Buffer, payload: Buffer] {
  const header = begin(type, payload.length, to);
  header.writeUInt32LE(sequence >>> 0, 16);
  header.writeUInt32LE(crc32(payload), 20);
  return [seal(header), payload];
}

/** @param bytes at least HEADER_BYTES @returns undefined when they begin with no header */
export function decodeSerialHeader(bytes: Buffer): SerialHeader | undefined {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (bytes.readUInt32LE(24) !== crc32(bytes.subarray(0, 24))) return undefined;
  const type = TYPES[bytes[4]!];
  const length = bytes.readUInt16LE(6);
  const owner = Buffer.from(bytes.subarray(8, 16));
  if (type === undefined || length > MAX_PAYLOAD || (type !== 'data' && length > 0)) return undefined;
  if (type === 'hello') return { type, from: owner, heard: Buffer.from(bytes.subarray(16, 24)) };
  return { type, to: owner, sequence: bytes.readUInt32LE(16), length, crc: bytes.readUInt32LE(20) };
}

function begin(type: (typeof TYPES)[number], length: number, owner: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header[4] = TYPES.indexOf(type);
  header.writeUInt16LE(length, 6);
  owner.copy(header, 8);
  return header;
}

function seal(header: Buffer): Buffer {
  header.writeUInt32LE(crc32(header.subarray(0, 24)), 24);
  return header;
}
