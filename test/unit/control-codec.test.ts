import fc from 'fast-check';
import { pack } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import {
  agreedFeatures,
  decodeControl,
  decodeHello,
  encodeControl,
  encodeHello,
  FEATURES,
  type Hello,
  MAX_HELLO_BYTES,
} from '../../shared/control-codec.ts';
import type { BridgeError } from '../../shared/errors.ts';

const HELLO: Hello = {
  version: 1,
  implementation: 'portferry 0.1.0',
  role: 'host',
  instance: '0123456789abcdef0123456789abcdef',
  epoch: 3,
  features: [...FEATURES, 'of-the-future'],
};

describe('the hello', () => {
  it('comes back as it went', () => {
    expect(decodeHello(encodeHello(HELLO))).toEqual(HELLO);
    const asking = { ...HELLO, nonce: Buffer.alloc(32, 7) };
    expect(decodeHello(encodeHello(asking))).toEqual(asking);
  });

  it.each<[string, object]>([
    ['no version', { version: undefined }],
    ['a negative epoch', { epoch: -1 }],
    ['a fractional epoch', { epoch: 1.5 }],
    ['an unknown role', { role: 'boss' }],
    ['a short instance', { instance: 'abc' }],
    ['features that are a string', { features: 'control' }],
    ['features that are numbers', { features: [1, 2] }],
    ['features that are typed', { features: new Uint8Array(4) }],
    ['too many features', { features: Array(65).fill('x') }],
    ['a short nonce', { nonce: Buffer.alloc(31) }],
    ['a nonce that is text', { nonce: '0123456789abcdef0123456789abcdef' }],
    ['a giant name', { implementation: 'x'.repeat(129) }],
  ])('refuses %s', (_name, change) => {
    expect(() => decodeHello(Buffer.from(pack({ ...HELLO, ...change })))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }),
    );
  });

  it('says which version the peer speaks', () => {
    expect(() => decodeHello(encodeHello({ ...HELLO, version: 2 }))).toThrow(/version 2, we speak 1/);
  });

  it.each<[string[], string[]]>([
    [[...HELLO.features], [...FEATURES]],
    [
      ['reverse', 'ping', 'details', 'control'],
      ['control', 'ping', 'details', 'reverse'],
    ],
    [['reverse', 'control'], ['control']],
    [['reverse', 'claims', 'dedicated', 'spare-streams', 'reset'], ['reset']],
    [['control', 'spare-streams'], ['control']],
    [[], []],
  ])('of %j, those are agreed on that we know and that have what they need', (listed, agreed) => {
    expect([...agreedFeatures({ ...HELLO, features: listed })]).toEqual(agreed);
  });

  it('refuses one over the size limit before decoding it', () => {
    const large = encodeHello({ ...HELLO, features: Array(60).fill('y'.repeat(64)) });
    expect(large.length).toBeLessThan(MAX_HELLO_BYTES + 100);
    expect(() => decodeHello(Buffer.concat([large, Buffer.alloc(MAX_HELLO_BYTES)]))).toThrow(/hello of/);
  });
});

describe('control messages', () => {
  it('come back as they went', () => {
    const start = { type: 'start', streamKey: Buffer.alloc(16, 9) } as const;
    expect(decodeControl(encodeControl(start))).toEqual(start);
    expect(decodeControl(encodeControl({ type: 'started' }))).toEqual({ type: 'started' });
    const spares = { type: 'spares', count: 8 } as const;
    expect(decodeControl(encodeControl(spares))).toEqual(spares);
  });

  it.each([
    ['an array', []],
    ['a number', 5],
    ['null', null],
    ['no type', {}],
    ['an unknown type', { type: 'explode' }],
    ['spares without a count', { type: 'spares' }],
    ['a count that is none', { type: 'spares', count: -1 }],
    ['a short key', { type: 'start', streamKey: Buffer.alloc(15) }],
    ['a key that is text', { type: 'start', streamKey: '0123456789abcdef' }],
    ['a prototype', { __proto__: { type: 'started' } }],
  ])('refuse %s', (_name, value) => {
    expect(() => decodeControl(Buffer.from(pack(value)))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }),
    );
  });
});

it('arbitrary bytes throw nothing but PROTOCOL', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const decode of [decodeHello, decodeControl]) {
        try {
          decode(Buffer.from(bytes));
        } catch (error) {
          expect((error as BridgeError).code).toBe('PROTOCOL');
        }
      }
    }),
    { numRuns: 3_000 },
  );
});
