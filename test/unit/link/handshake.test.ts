import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_HELLO_BYTES } from '../../../shared/control-codec.ts';
import { decodeHandshake, encodeHandshake, HANDSHAKE_TEXT } from '../../../shared/link/handshake.ts';

describe('the handshake', () => {
  it("begins with vpnkit's 52 bytes and an empty payload is two zero bytes", () => {
    expect(HANDSHAKE_TEXT.length).toBe(52);
    expect(encodeHandshake(Buffer.alloc(0))).toEqual(Buffer.concat([HANDSHAKE_TEXT, Buffer.from([0, 0])]));
  });

  it('comes back as it went in any prefix, with the bytes behind it untouched', () => {
    const payload = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(payload, fc.uint8Array({ maxLength: 30 }), (value, rest) => {
        const bytes = encodeHandshake(value);
        for (let length = 0; length < bytes.length; length += 7)
          expect(decodeHandshake(bytes.subarray(0, length))).toBeUndefined();
        expect(decodeHandshake(Buffer.concat([bytes, rest]))).toEqual({ value, used: bytes.length });
      }),
      { numRuns: 50 },
    );
  });

  it('refuses other protocols at their first byte, and a giant payload before it has come', () => {
    expect(() => decodeHandshake(Buffer.from('GET / HTTP/1.1'))).toThrow(/multiplexer protocol/);
    expect(() => decodeHandshake(Buffer.from('hx'))).toThrow(/multiplexer protocol/);
    const large = encodeHandshake(Buffer.alloc(MAX_HELLO_BYTES + 1)).subarray(0, 54);
    expect(() => decodeHandshake(large)).toThrow(/hello of/);
  });
});
