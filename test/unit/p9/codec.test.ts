import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { decode, encode } from '../../../shared/p9/codec.ts';
import type { Message } from '../../../shared/p9/messages.ts';
import type { Dialect } from '../../../shared/p9/types.ts';
import { anyDialect, anyMessage, DIALECTS, messageOf, namesIn } from './arbitraries.ts';

const hex = (text: string) => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
const plain = (message: unknown) =>
  JSON.parse(
    JSON.stringify(message, (_key, value) => {
      if (typeof value === 'bigint') return `${value}n`;
      return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
    }),
  );

function failure(run: () => unknown): BridgeError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(BridgeError);
    return error as BridgeError;
  }
  throw new Error('nothing was thrown');
}

describe.each(DIALECTS)('%s round trips', (dialect) => {
  it.each(namesIn(dialect))('%s', (name) => {
    fc.assert(
      fc.property(messageOf(name, dialect), (message) => {
        const frame = encode(message, dialect);
        expect(new DataView(frame.buffer, frame.byteOffset).getUint32(0, true)).toBe(frame.length);
        expect(plain(decode(frame, dialect))).toEqual(plain(message));
      }),
      { numRuns: 30 },
    );
  });
});

describe('bytes written down from the manuals', () => {
  const cases: ReadonlyArray<[string, Dialect, string, Message]> = [
    [
      'Tversion',
      '9P2000',
      '13000000 64 ffff 00200000 0600 395032303030',
      { type: 'Tversion', tag: 0xffff, msize: 8192, version: '9P2000' },
    ],
    [
      'Tattach of 9P2000, without n_uname',
      '9P2000',
      '15000000 68 0100 00000000 ffffffff 0100 61 0100 62',
      { type: 'Tattach', tag: 1, fid: 0, afid: 0xffff_ffff, uname: 'a', aname: 'b', nUname: 0xffff_ffff },
    ],
    [
      'Tattach of .L, with n_uname',
      '9P2000.L',
      '17000000 68 0100 00000000 ffffffff 0000 0000 e8030000',
      { type: 'Tattach', tag: 1, fid: 0, afid: 0xffff_ffff, uname: '', aname: '', nUname: 1000 },
    ],
    [
      'Twalk of two names',
      '9P2000.L',
      '19000000 6e 0200 01000000 02000000 0200 0100 78 0300 63746c',
      { type: 'Twalk', tag: 2, fid: 1, newfid: 2, names: ['x', 'ctl'] },
    ],
    [
      'Rwalk',
      '9P2000',
      '16000000 6f 0200 0100 80 00000000 0500000000000000',
      { type: 'Rwalk', tag: 2, qids: [{ type: 0x80, version: 0, path: 5n }] },
    ],
    [
      'Tcreate of .u, with extension',
      '9P2000.u',
      '15000000 72 0300 02000000 0100 78 ff010080 00 0000',
      { type: 'Tcreate', tag: 3, fid: 2, name: 'x', perm: 0x8000_01ff, mode: 0, extension: '' },
    ],
    [
      'Twrite',
      '9P2000',
      '1a000000 76 0400 03000000 0000000000000000 03000000 616263',
      { type: 'Twrite', tag: 4, fid: 3, offset: 0n, data: new Uint8Array([97, 98, 99]) },
    ],
    [
      'Rerror of 9P2000',
      '9P2000',
      '0b000000 6b 0500 0200 6e6f',
      { type: 'Rerror', tag: 5, ename: 'no', errno: 0 },
    ],
    [
      'Rerror of .u',
      '9P2000.u',
      '0f000000 6b 0500 0200 6e6f 02000000',
      { type: 'Rerror', tag: 5, ename: 'no', errno: 2 },
    ],
    ['Rlerror', '9P2000.L', '0b000000 07 0500 5f000000', { type: 'Rlerror', tag: 5, ecode: 95 }],
    [
      'Tunlinkat',
      '9P2000.L',
      '12000000 4c 0600 01000000 0100 78 00020000',
      { type: 'Tunlinkat', tag: 6, dirfid: 1, name: 'x', flags: 0x200 },
    ],
  ];
  it.each(cases)('%s', (_what, dialect, bytes, message) => {
    expect(Buffer.from(encode(message, dialect)).toString('hex')).toBe(
      Buffer.from(hex(bytes)).toString('hex'),
    );
    expect(plain(decode(hex(bytes), dialect))).toEqual(plain(message));
  });

  it('has the fixed sizes of diod protocol.md', () => {
    const size = (name: Parameters<typeof messageOf>[0]) => {
      const [message] = fc.sample(messageOf(name, '9P2000.L'), 1);
      return encode(message as Message, '9P2000.L').length;
    };
    expect(size('Rgetattr')).toBe(7 + 8 + 13 + 4 + 4 + 4 + 15 * 8);
    expect(size('Tsetattr')).toBe(7 + 4 + 4 + 4 + 4 + 4 + 8 + 4 * 8);
    expect(size('Rstatfs')).toBe(7 + 4 + 4 + 6 * 8 + 4);
  });
});

describe('what is malformed', () => {
  it('every truncation and every byte too many is refused', () => {
    fc.assert(
      fc.property(anyMessage, fc.nat(), ({ dialect, message }, cut) => {
        const frame = encode(message, dialect);
        const shorter = frame.slice(0, 7 + (cut % Math.max(1, frame.length - 7)));
        new DataView(shorter.buffer).setUint32(0, shorter.length, true);
        if (shorter.length < frame.length) {
          expect(failure(() => decode(shorter, dialect)).code).toBe('PROTOCOL');
        }
        const longer = new Uint8Array([...frame, 0]);
        new DataView(longer.buffer).setUint32(0, longer.length, true);
        expect(failure(() => decode(longer, dialect)).code).toBe('PROTOCOL');
      }),
    );
  });

  it('arbitrary bytes throw nothing but PROTOCOL', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat({ max: 255 }),
        anyDialect,
        (body, number, dialect) => {
          const frame = new Uint8Array([0, 0, 0, 0, number, 1, 0, ...body]);
          new DataView(frame.buffer).setUint32(0, frame.length, true);
          try {
            decode(frame, dialect);
          } catch (error) {
            expect(error).toBeInstanceOf(BridgeError);
            expect((error as BridgeError).code).toBe('PROTOCOL');
          }
          try {
            decode(body, dialect);
          } catch (error) {
            expect((error as BridgeError).code).toBe('PROTOCOL');
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('a valid message with one byte changed throws nothing but PROTOCOL', () => {
    fc.assert(
      fc.property(anyMessage, fc.nat(), fc.nat({ max: 255 }), ({ dialect, message }, at, value) => {
        const frame = encode(message, dialect).slice();
        frame[at % frame.length] = value;
        try {
          decode(frame, dialect);
        } catch (error) {
          expect((error as BridgeError).code).toBe('PROTOCOL');
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('more than 16 names', () => {
    const names = Array.from({ length: 17 }, () => 'x');
    const frame = encode({ type: 'Twalk', tag: 1, fid: 1, newfid: 2, names }, '9P2000');
    expect(failure(() => decode(frame, '9P2000')).code).toBe('PROTOCOL');
  });

  it('bad UTF-8 is PROTOCOL with EINVAL, by which the session tells it from a broken frame', () => {
    const frame = hex('14000000 6e 0200 01000000 02000000 0100 0100 ff');
    const error = failure(() => decode(frame, '9P2000'));
    expect([error.code, error.errno]).toEqual(['PROTOCOL', ERRNO.EINVAL]);
  });

  it('a stat whose lengths disagree', () => {
    const [message] = fc.sample(messageOf('Rstat', '9P2000'), 1);
    for (const offset of [7, 9]) {
      const frame = encode(message as Message, '9P2000').slice();
      frame[offset] = ((frame[offset] as number) + 1) & 0xff;
      expect(failure(() => decode(frame, '9P2000')).code).toBe('PROTOCOL');
    }
  });
});

it('a number that the dialect does not have is unknown, not malformed', () => {
  const getattr = encode({ type: 'Tgetattr', tag: 9, fid: 1, mask: 0n }, '9P2000.L');
  expect(decode(getattr, '9P2000')).toEqual({ type: 'unknown', tag: 9, number: 24 });
  const open = encode({ type: 'Topen', tag: 9, fid: 1, mode: 0 }, '9P2000');
  expect(decode(open, '9P2000.L')).toEqual({ type: 'unknown', tag: 9, number: 112 });
  expect(decode(hex('08000000 fa 0300 00'), '9P2000.u')).toEqual({ type: 'unknown', tag: 3, number: 250 });
});

it('a string that does not fit is refused when it is written', () => {
  const ename = 'x'.repeat(0x10000);
  expect(failure(() => encode({ type: 'Rerror', tag: 1, ename, errno: 0 }, '9P2000')).code).toBe(
    'BAD_REQUEST',
  );
});
