import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Channel } from '../../../shared/p9/channel.ts';
import { encode } from '../../../shared/p9/codec.ts';
import { anyMessage } from './arbitraries.ts';

function frameOf(size: number, fill = 0): Uint8Array {
  const frame = new Uint8Array(size).fill(fill);
  new DataView(frame.buffer).setUint32(0, size, true);
  return frame;
}

function drain(channel: Channel): string[] {
  const frames: string[] = [];
  for (let frame = channel.next(); frame !== undefined; frame = channel.next()) {
    frames.push(Buffer.from(frame).toString('hex'));
  }
  return frames;
}

describe('splits', () => {
  it('every split of two frames in three pieces gives the same frames', () => {
    const bytes = Buffer.concat([frameOf(9, 1), frameOf(12, 2)]);
    const expected = [frameOf(9, 1), frameOf(12, 2)].map((frame) => Buffer.from(frame).toString('hex'));
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        const channel = new Channel(100);
        const pieces = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
        const seen = pieces.flatMap((piece) => {
          channel.push(piece);
          return drain(channel);
        });
        expect(seen).toEqual(expected);
        expect(channel.pending).toBe(0);
      }
    }
  });

  it('any messages in any pieces', () => {
    fc.assert(
      fc.property(
        fc.array(anyMessage, { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 50 })),
        (sent, sizes) => {
          const frames = sent.map(({ dialect, message }) => encode(message, dialect));
          const bytes = Buffer.concat(frames);
          const channel = new Channel(1 << 20);
          const seen: string[] = [];
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const size = sizes[turn % Math.max(1, sizes.length)] ?? 7;
            channel.push(bytes.subarray(at, at + size));
            at += size;
            seen.push(...drain(channel));
          }
          expect(seen).toEqual(frames.map((frame) => Buffer.from(frame).toString('hex')));
        },
      ),
    );
  });

  it('a byte at a time', () => {
    const channel = new Channel(64);
    const bytes = frameOf(64, 7);
    for (const [at, byte] of bytes.entries()) {
      channel.push(Uint8Array.of(byte));
      expect(drain(channel)).toHaveLength(at === 63 ? 1 : 0);
    }
  });
});

describe('sizes', () => {
  it.each([0, 6])('%i bytes are less than a header', (size) => {
    const channel = new Channel(100);
    channel.push(Uint8Array.of(size, 0, 0, 0));
    expect(() => channel.next()).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  it('msize is accepted, one byte more is refused as soon as it is announced', () => {
    const channel = new Channel(100);
    channel.push(frameOf(100));
    expect(channel.next()).toHaveLength(100);
    channel.push(Uint8Array.of(101, 0, 0, 0));
    expect(() => channel.next()).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  it('msize may change between two frames that came together', () => {
    const channel = new Channel(100);
    channel.push(Buffer.concat([frameOf(50), frameOf(50)]));
    expect(channel.next()).toHaveLength(50);
    channel.msize = 40;
    expect(() => channel.next()).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });
});
