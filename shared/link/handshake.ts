/**
 * vpnkit's handshake, sent by both sides at once (moby/vpnkit go/pkg/libproxy/handshake.go): 52 bytes of
 * text, u16 little-endian length, that many bytes of payload. vpnkit sends none and ignores ours, which is
 * a hello.
 */
import { MAX_HELLO_BYTES } from '../control-codec.ts';
import { BridgeError } from '../errors.ts';

export const HANDSHAKE_TEXT = Buffer.from('https://github.com/moby/vpnkit multiplexer protocol\n', 'latin1');
export const MAX_HANDSHAKE_BYTES = HANDSHAKE_TEXT.length + 2 + MAX_HELLO_BYTES;

export function encodeHandshake(payload: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16LE(payload.length, 0);
  return Buffer.concat([HANDSHAKE_TEXT, length, payload]);
}

/**
 * @returns undefined while incomplete; else the payload (empty from a vpnkit peer) and the bytes taken
 * @throws BridgeError PROTOCOL as soon as a byte differs from the text, or when the payload is too large
 */
export function decodeHandshake(bytes: Buffer): { value: Buffer; used: number } | undefined {
  const compare = Math.min(bytes.length, HANDSHAKE_TEXT.length);
  if (!bytes.subarray(0, compare).equals(HANDSHAKE_TEXT.subarray(0, compare)))
    throw new BridgeError('PROTOCOL', 'the other side does not speak the multiplexer protocol');
  const start = HANDSHAKE_TEXT.length + 2;
  if (bytes.length < start) return undefined;
  const length = bytes.readUInt16LE(HANDSHAKE_TEXT.length);
  if (length > MAX_HELLO_BYTES) throw new BridgeError('PROTOCOL', `hello of ${length} bytes`);
  if (bytes.length < start + length) return undefined;
  return { value: Buffer.from(bytes.subarray(start, start + length)), used: start + length };
}
