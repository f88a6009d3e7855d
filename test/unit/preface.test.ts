import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import { ipFromBytes } from '../../shared/ip.ts';
import {
  decodePreface,
  decodeResult,
  encodePreface,
  encodeResult,
  MAX_PREFACE_BYTES,
  type Preface,
} from '../../shared/preface.ts';

const ip = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((bytes) => ipFromBytes(Buffer.from(bytes)));
const port = fc.nat({ max: 65_535 });
const destination: fc.Arbitrary<Destination> = fc.oneof(
  fc.record({ protocol: fc.constantFrom('tcp' as const, 'udp' as const), ip, port }),
  fc
    .string({ minLength: 1, maxLength: 100, unit: 'grapheme' })
    .filter((path) => !path.includes('\0'))
    .map((path) => ({ protocol: 'unix' as const, path: `/${path}` })),
);
const preface: fc.Arbitrary<Preface> = fc.record({
  streamId: fc.nat({ max: 0xffff_ffff }),
  streamKey: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
  destination,
  client: fc.option(fc.record({ ip, port }), { nil: undefined }),
  keepalive: fc.option(fc.nat(), { nil: undefined }),
  flowIdle: fc.option(fc.nat(), { nil: undefined }),
});

const KEEPALIVE_30 = Buffer.from([1, 4, 30, 0, 0, 0]);

describe('the stream preface', () => {
  it('comes back as it went, with the bytes behind it untouched', () => {
    fc.assert(
      fc.property(preface, fc.uint8Array({ maxLength: 20 }), (value, rest) => {
        const bytes = encodePreface(value);
        expect(decodePreface(Buffer.concat([bytes, rest]))).toEqual({ value, used: bytes.length });
      }),
    );
  });

  it('is incomplete at every length short of the whole', () => {
    fc.assert(
      fc.property(preface, (value) => {
        const bytes = encodePreface(value);
        for (let length = 0; length < bytes.length; length++)
          expect(decodePreface(bytes.subarray(0, length))).toBeUndefined();
      }),
      { numRuns: 30 },
    );
  });

  it('skips fields that a later version adds behind it', () => {
    const value: Preface = {
      streamId: 7,
      streamKey: Buffer.alloc(16, 1),
      destination: { protocol: 'tcp', ip: '10.0.0.1', port: 80 },
    };
    const bytes = Buffer.concat([
      encodePreface(value),
      Buffer.from([200, 3]),
      Buffer.from('abc'),
      KEEPALIVE_30,
    ]);
    bytes.writeUInt16LE(bytes.length, 2);
    expect(decodePreface(bytes)).toEqual({ value: { ...value, keepalive: 30 }, used: bytes.length });
  });

  it('refuses a field that is cut short or of a wrong length', () => {
    const destination = { protocol: 'tcp', ip: '10.0.0.1', port: 80 } as const;
    const plain = encodePreface({ streamId: 7, streamKey: Buffer.alloc(16, 1), destination });
    for (const field of [[1], [200, 1], [1, 4, 0, 0, 0], [1, 3, 0, 0, 0], [2, 5, 0, 0, 0, 0, 0]]) {
      const bytes = Buffer.concat([plain, Buffer.from(field)]);
      bytes.writeUInt16LE(bytes.length, 2);
      expect(() => decodePreface(bytes), `${field}`).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
    }
  });

  it('throws nothing but PROTOCOL on arbitrary bytes, also behind a good head', () => {
    const head = Buffer.from([0x50, 0xfe]);
    fc.assert(
      fc.property(fc.boolean(), fc.uint8Array({ maxLength: 200 }), (good, tail) => {
        const bytes = good ? Buffer.concat([head, Buffer.from([200, 0, 1, 0]), tail]) : Buffer.from(tail);
        try {
          decodePreface(bytes);
        } catch (error) {
          expect((error as BridgeError).code).toBe('PROTOCOL');
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuses a length over the limit at once', () => {
    const bytes = Buffer.from([0x50, 0xfe, 0, 0]);
    bytes.writeUInt16LE(MAX_PREFACE_BYTES + 1, 2);
    expect(() => decodePreface(bytes)).toThrow(BridgeError);
  });
});

describe('the answer to a preface', () => {
  it('comes back as it went, whole or in pieces', () => {
    for (const errno of [0, 111, 0xffff_ffff]) {
      const bytes = encodeResult(errno);
      expect(decodeResult(bytes)).toEqual({ value: errno, used: 8 });
      expect(decodeResult(bytes.subarray(0, 7))).toBeUndefined();
    }
  });

  it('is not taken from other bytes', () => {
    expect(() => decodeResult(Buffer.from('HTTP/1.1'))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }),
    );
  });
});
