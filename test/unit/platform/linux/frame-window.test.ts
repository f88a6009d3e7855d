import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  beginWindow,
  type Carry,
  readWindow,
} from '../../../../shared/platform/linux/datagrams/frame-window.ts';
import {
  encodeFlowFrame,
  type FlowFrame,
  FlowFrameDecoder,
  MAX_DATAGRAM_BYTES,
} from '../../../../shared/relay/udp-frame.ts';
import { cutAt, cuts } from '../../../helpers/splits.ts';

const buffer = (constraints: { minLength?: number; maxLength: number }) =>
  fc.uint8Array(constraints).map((bytes) => Buffer.from(bytes));
const address = fc.record({
  ip: fc.constantFrom(0, 4, 16).chain((length) => buffer({ minLength: length, maxLength: length })),
  port: fc.integer({ min: 0, max: 0xffff }),
  zone: fc.constantFrom('', 'eth0'),
});
const frame: fc.Arbitrary<FlowFrame> = fc
  .record({
    flow: fc.integer({ min: 0, max: 0xffff_ffff }),
    ended: fc.boolean(),
    addresses: fc.option(fc.record({ client: address, local: address }), { nil: undefined }),
    payload: buffer({ maxLength: 40 }),
  })
  .map((each) => (each.ended ? { ...each, payload: Buffer.alloc(0) } : each));
const wire = (frames: readonly FlowFrame[]) =>
  Buffer.concat(frames.flatMap((each) => encodeFlowFrame(each)!));

type Seen = { flow: number; ended: boolean; payload: Buffer };

/** What the decoder of the portable engine makes of a stream. */
function oracle(chunks: readonly Buffer[]): Seen[] {
  const seen: Seen[] = [];
  const decoder = new FlowFrameDecoder();
  for (const chunk of chunks)
    decoder.push(chunk, ({ flow, ended, payload }) =>
      seen.push({ flow, ended, payload: Buffer.from(payload) }),
    );
  return seen;
}

function read(chunks: readonly Buffer[], window = Buffer.alloc(256 * 1024)): Seen[] {
  const seen: Seen[] = [];
  const carry: Carry = { rest: undefined };
  for (const chunk of chunks) {
    const from = beginWindow(window, carry);
    chunk.copy(window, from);
    readWindow(window, from + chunk.length, carry, {
      frame: (flow, ended, at, length) =>
        seen.push({ flow, ended, payload: Buffer.from(window.subarray(at, at + length)) }),
      passed: () => {},
    });
    window.fill(0xee); // another stream uses it
  }
  return seen;
}

describe('frames read in place', () => {
  it('are those of the decoder, whatever the split', () => {
    const frames = fc.array(frame, { maxLength: 8 });
    fc.assert(
      fc.property(frames, cuts, (list, at) => {
        const chunks = cutAt(wire(list), at);
        expect(read(chunks, Buffer.alloc(4_096))).toEqual(oracle(chunks));
      }),
    );
  });

  it('are read from every split in two, and byte by byte', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 3 }), (list) => {
        const bytes = wire(list);
        const expected = oracle([bytes]);
        const window = Buffer.alloc(1_024);
        for (let cut = 0; cut <= bytes.length; cut++)
          expect(read([bytes.subarray(0, cut), bytes.subarray(cut)], window)).toEqual(expected);
        expect(read(cutAt(bytes, [...bytes.keys()]), window)).toEqual(expected);
      }),
      { numRuns: 20 },
    );
  });

  it('may be as large as any datagram', () => {
    const payload = Buffer.alloc(MAX_DATAGRAM_BYTES, 7);
    const bytes = wire([1, 2].map((flow) => ({ flow, ended: false, addresses: undefined, payload })));
    const chunks = cutAt(bytes, [3, 65_000, 65_518, 131_000]);
    expect(read(chunks)).toEqual(oracle([bytes]));
  });
});

describe('malformed frames', () => {
  const good = wire([{ flow: 1, ended: false, addresses: undefined, payload: Buffer.from('x') }]);
  const bad: Record<string, (bytes: Buffer) => void> = {
    'too short': (bytes) => bytes.writeUInt32LE(9, 0),
    'too long': (bytes) => bytes.writeUInt32LE(66_049, 0),
    'a header that is too short': (bytes) => bytes.writeUInt8(9, 9),
    'a header behind the frame': (bytes) => bytes.writeUInt8(12, 9),
    'payload behind an end': (bytes) => bytes.writeUInt8(2, 8),
  };

  it.each(Object.keys(bad))('%s', (what) => {
    const bytes = Buffer.from(good);
    bad[what]!(bytes);
    expect(() => oracle([bytes])).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
    expect(() => read([bytes])).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  it('do not take back the frames before them', () => {
    const bytes = Buffer.concat([good, Buffer.alloc(10)]);
    const seen: number[] = [];
    let passed = 0;
    const reader = { frame: (flow: number) => void seen.push(flow), passed: () => void passed++ };
    expect(() => readWindow(bytes, bytes.length, { rest: undefined }, reader)).toThrow();
    expect({ seen, passed }).toEqual({ seen: [1], passed: 1 });
  });
});
