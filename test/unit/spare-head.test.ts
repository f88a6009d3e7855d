import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../shared/errors.ts';
import { HANDSHAKE_TEXT } from '../../shared/link/handshake.ts';
import { PREFACE_MAGIC } from '../../shared/preface.ts';
import {
  decodeSpareHead,
  encodeSpareHead,
  MAX_SPARE_HEAD_BYTES,
  SPARE_MAGIC,
} from '../../shared/spare-head.ts';

const key = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes));

describe('the head of a spare stream', () => {
  it('comes back as it went, with the bytes behind it untouched', () => {
    fc.assert(
      fc.property(key, fc.uint8Array({ maxLength: 20 }), (value, rest) => {
        const bytes = encodeSpareHead(value);
        expect(decodeSpareHead(Buffer.concat([bytes, rest]))).toEqual({ value, used: bytes.length });
      }),
    );
  });

  it('is incomplete at every length short of the whole', () => {
    const bytes = encodeSpareHead(Buffer.alloc(16, 9));
    for (let length = 0; length < bytes.length; length++)
      expect(decodeSpareHead(bytes.subarray(0, length))).toBeUndefined();
  });

  it('skips fields that a later version adds behind the key, as far as a head may be long', () => {
    fc.assert(
      fc.property(key, fc.integer({ min: 1, max: 600 }), (value, more) => {
        const bytes = Buffer.concat([encodeSpareHead(value), Buffer.alloc(more, 0xff)]);
        bytes.writeUInt16LE(bytes.length, 2);
        if (bytes.length > MAX_SPARE_HEAD_BYTES) expect(() => decodeSpareHead(bytes)).toThrow(BridgeError);
        else expect(decodeSpareHead(bytes)).toEqual({ value, used: bytes.length });
      }),
    );
  });

  it('of other bytes is a refusal, an incomplete head, or a head: never anything else', () => {
    const start = fc.constantFrom(SPARE_MAGIC, Buffer.alloc(0));
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 600 }), (magic, rest) => {
        try {
          const decoded = decodeSpareHead(Buffer.concat([magic, rest]));
          if (decoded !== undefined) expect(decoded.value.length).toBe(16);
        } catch (error) {
          expect(error).toMatchObject({ code: 'PROTOCOL' });
        }
      }),
    );
  });

  it('refuses another version', () => {
    const bytes = encodeSpareHead(Buffer.alloc(16));
    bytes[4] = 2;
    expect(() => decodeSpareHead(bytes)).toThrow('version 2');
  });

  it('begins as neither links nor prefaces do', () => {
    expect(SPARE_MAGIC.equals(PREFACE_MAGIC)).toBe(false);
    expect(SPARE_MAGIC.equals(HANDSHAKE_TEXT.subarray(0, 2))).toBe(false);
  });
});
