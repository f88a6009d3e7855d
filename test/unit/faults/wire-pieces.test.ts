import fc from 'fast-check';
import { pack } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { COMMAND } from '../../../shared/mux/frame.ts';
import { encodePreface } from '../../../shared/preface.ts';
import { encodeSpareHead } from '../../../shared/spare-head.ts';
import { type Cutter, LinkCutter, P9Cutter } from '../../helpers/wire-pieces.ts';
import { controlFrame, dataFrame, frame, handshake, hello, u32 } from '../../hostile/raw-link.ts';

/** Cuts a stream that comes in chunks of these sizes. */
function cut(cutter: Cutter, bytes: Buffer, sizes: readonly number[]): Array<[string, number]> {
  const found: Array<[string, number]> = [];
  const parts: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!;
    for (const piece of cutter.push(bytes.subarray(at, at + size))) {
      found.push([piece.kind, piece.bytes.length]);
      parts.push(Buffer.from(piece.bytes));
    }
    at += size;
  }
  // Not a byte more or less.
  expect(Buffer.concat(parts)).toEqual(bytes);
  return found;
}

const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 8 });

describe('cutting into pieces', () => {
  it('names hello, control messages and frames of a link, however it is split', () => {
    const parts = [
      handshake(hello()),
      controlFrame(pack({ type: 'claims', claims: [], more: false })),
      frame(COMMAND.dialResult, 3, u32(0)),
      dataFrame(3, Buffer.alloc(300, 7)),
      frame(COMMAND.shutdown, 3),
    ];
    const kinds = ['hello', 'claims', 'dial-result', 'data', 'shutdown'];
    fc.assert(
      fc.property(sizes, (chunks) => {
        const found = cut(new LinkCutter(true), Buffer.concat(parts), chunks);
        expect(found).toEqual(kinds.map((kind, i) => [kind, parts[i]!.length]));
      }),
    );
  });

  it('tells a preface and an answer from the raw bytes behind them', () => {
    const preface = encodePreface({
      streamId: 1,
      streamKey: Buffer.alloc(16),
      destination: { protocol: 'tcp', ip: '127.0.0.1', port: 80 },
    });
    fc.assert(
      fc.property(sizes, (chunks) => {
        const up = cut(new LinkCutter(false), Buffer.concat([preface, Buffer.alloc(100)]), chunks);
        expect(up[0]).toEqual(['preface', preface.length]);
        expect(up.slice(1).every(([kind]) => kind === 'data')).toBe(true);
        const answer = Buffer.from([0x50, 0xfe, 1, 0, 0, 0, 0, 0]);
        const down = cut(new LinkCutter(true), Buffer.concat([answer, Buffer.alloc(100)]), chunks);
        expect(down[0]).toEqual(['answer', 8]);
      }),
    );
  });

  it('tells the head of a spare stream from the answer and the raw bytes behind it', () => {
    const head = encodeSpareHead(Buffer.alloc(16, 7));
    const answer = Buffer.from([0x50, 0xfe, 1, 0, 0, 0, 0, 0]);
    fc.assert(
      fc.property(sizes, (chunks) => {
        const found = cut(new LinkCutter(true), Buffer.concat([head, answer, Buffer.alloc(100)]), chunks);
        expect(found.slice(0, 2)).toEqual([
          ['spare', head.length],
          ['answer', answer.length],
        ]);
        expect(found.slice(2).every(([kind]) => kind === 'data')).toBe(true);
      }),
    );
  });

  it('finds the proof between the hello and the frames of a link with a token', () => {
    const parts = [handshake(hello()), Buffer.alloc(32, 0xff), frame(COMMAND.shutdown, 3)];
    const kinds = ['hello', 'proof', 'shutdown'];
    fc.assert(
      fc.property(sizes, (chunks) => {
        const found = cut(new LinkCutter(true, true), Buffer.concat(parts), chunks);
        expect(found).toEqual(kinds.map((kind, i) => [kind, parts[i]!.length]));
      }),
    );
  });

  it('names messages of 9P by their number', () => {
    const message = (type: number, length: number) => {
      const bytes = Buffer.alloc(length);
      bytes.writeUInt32LE(length);
      bytes[4] = type;
      return bytes;
    };
    fc.assert(
      fc.property(sizes, (chunks) => {
        const bytes = Buffer.concat([message(100, 19), message(118, 400), message(120, 11)]);
        expect(cut(new P9Cutter(), bytes, chunks).map(([kind]) => kind)).toEqual([
          'Tversion',
          'Twrite',
          'Tclunk',
        ]);
      }),
    );
  });
});
