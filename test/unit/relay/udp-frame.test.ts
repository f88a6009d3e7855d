import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import {
  encodeFlowFrame,
  encodeU16Frame,
  type FlowFrame,
  FlowFrameDecoder,
  MAX_DATAGRAM_BYTES,
  MAX_FLOW_FRAME_BYTES,
  type U16Frame,
  U16FrameDecoder,
  UNKNOWN_ADDRESS,
} from '../../../shared/relay/udp-frame.ts';

const buffer = (constraints: { minLength?: number; maxLength: number }) =>
  fc.uint8Array(constraints).map((bytes) => Buffer.from(bytes));
const zone = fc.uint8Array({ maxLength: 15 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const address = fc.record({
  ip: fc.constantFrom(0, 4, 16).chain((length) => buffer({ minLength: length, maxLength: length })),
  port: fc.integer({ min: 0, max: 0xffff }),
  zone,
});
const u16Frame: fc.Arbitrary<U16Frame> = fc
  .tuple(address, buffer({ maxLength: 40 }))
  .map(([from, payload]) => ({ ...from, payload }));
const flowFrame: fc.Arbitrary<FlowFrame> = fc
  .record({
    flow: fc.integer({ min: 0, max: 0xffff_ffff }),
    ended: fc.boolean(),
    addresses: fc.option(fc.record({ client: address, local: address }), { nil: undefined }),
    payload: buffer({ maxLength: 40 }),
  })
  .map((frame) => (frame.ended ? { ...frame, payload: Buffer.alloc(0) } : frame));

/** The same suite for both notations. */
const notations = [
  {
    name: 'u16',
    frames: u16Frame as fc.Arbitrary<unknown>,
    encode: (frame: unknown) => encodeU16Frame(frame as U16Frame),
    decoder: () => new U16FrameDecoder() as { push(chunk: Buffer, onFrame: (frame: unknown) => void): void },
  },
  {
    name: 'u32',
    frames: flowFrame as fc.Arbitrary<unknown>,
    encode: (frame: unknown) => encodeFlowFrame(frame as FlowFrame),
    decoder: () => new FlowFrameDecoder() as { push(chunk: Buffer, onFrame: (frame: unknown) => void): void },
  },
];

describe.each(notations)('$name frames', ({ frames, encode, decoder }) => {
  const wire = (list: unknown[]) => Buffer.concat(list.flatMap((frame) => encode(frame)!));
  const readAll = (chunks: Buffer[]) => {
    const seen: unknown[] = [];
    const reader = decoder();
    for (const chunk of chunks) reader.push(chunk, (frame) => seen.push(frame));
    return seen;
  };

  it('go round', () => {
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 5 }), (list) => {
        expect(readAll([wire(list)])).toEqual(list);
      }),
    );
  });

  it('are read from every split in two', () => {
    fc.assert(
      fc.property(fc.array(frames, { minLength: 1, maxLength: 2 }), (list) => {
        const bytes = wire(list);
        for (let cut = 0; cut <= bytes.length; cut++) {
          expect(readAll([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(list);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('are read from any split, down to single bytes', () => {
    fc.assert(
      fc.property(
        fc.array(frames, { minLength: 1, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
        (list, sizes) => {
          const bytes = wire(list);
          const chunks: Buffer[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = sizes[i % sizes.length]!;
            chunks.push(bytes.subarray(at, at + size));
            at += size;
          }
          expect(readAll(chunks)).toEqual(list);
          expect(readAll(Array.from(bytes, (byte) => Buffer.of(byte)))).toEqual(list);
        },
      ),
    );
  });

  it('that are split outlive the chunk they began in', () => {
    fc.assert(
      fc.property(frames, fc.nat(), (frame, at) => {
        const bytes = wire([frame]);
        const cut = 1 + (at % (bytes.length - 1));
        const reader = decoder();
        const chunk = Buffer.alloc(bytes.length);
        const seen: unknown[] = [];
        for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
          part.copy(chunk);
          reader.push(chunk.subarray(0, part.length), (found) => seen.push(found));
          chunk.fill(0xee);
        }
        expect(seen).toEqual([frame]);
      }),
    );
  });

  it('arbitrary bytes give frames or PROTOCOL, and after that nothing else', () => {
    fc.assert(
      fc.property(fc.array(buffer({ maxLength: 64 }), { maxLength: 6 }), (chunks) => {
        const reader = decoder();
        let failed: unknown;
        for (const chunk of chunks) {
          try {
            reader.push(chunk, () => expect(failed).toBeUndefined());
            expect(failed).toBeUndefined();
          } catch (error) {
            expect(error).toBeInstanceOf(BridgeError);
            expect((error as BridgeError).code).toBe('PROTOCOL');
            if (failed !== undefined) expect(error).toBe(failed);
            failed = error;
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('with one byte changed give frames or PROTOCOL', () => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.integer({ min: 0, max: 255 }), (frame, at, value) => {
        const bytes = wire([frame]);
        bytes[at % bytes.length] = value;
        try {
          readAll([bytes]);
        } catch (error) {
          expect((error as BridgeError).code).toBe('PROTOCOL');
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('a callback that throws loses the stream', () => {
    const reader = decoder();
    const [frame] = fc.sample(frames, 1);
    const boom = new Error('boom');
    expect(() =>
      reader.push(wire([frame]), () => {
        throw boom;
      }),
    ).toThrow(boom);
    expect(() => reader.push(Buffer.alloc(0), () => {})).toThrow(BridgeError);
  });
});

describe('u16 layout', () => {
  it('is the one of the specification', () => {
    const frame = { ip: Buffer.of(10, 0, 0, 1), port: 0x1234, zone: 'e0', payload: Buffer.from('hi') };
    expect(Buffer.concat(encodeU16Frame(frame)!).toString('hex')).toBe(
      '120004000a00000134120200653002006869',
    );
  });

  it('takes the largest datagram without a zone, not with one on IPv6', () => {
    const payload = Buffer.alloc(MAX_DATAGRAM_BYTES, 7);
    for (const ip of [Buffer.alloc(0), Buffer.alloc(4), Buffer.alloc(16)]) {
      const frame = { ip, port: 1, zone: '', payload };
      const seen: U16Frame[] = [];
      new U16FrameDecoder().push(Buffer.concat(encodeU16Frame(frame)!), (found) => seen.push(found));
      expect(seen).toEqual([frame]);
    }
    expect(encodeU16Frame({ ip: Buffer.alloc(16), port: 1, zone: 'eth0', payload })).toBeUndefined();
  });

  it.each([
    ['a total below the fixed part', '0900000000000000000000'],
    ['an address of 5 bytes', '0f0005000000000000000000000000'],
    ['an address that is cut short', '0c0004000a0000013412ffff'],
    ['a zone that is cut short', '0c000000000003006161000000'],
    ['a payload shorter than the frame', '0c0000000000000001006868'],
    ['a payload longer than the frame', '0c0000000000000003006868'],
  ])('refuses %s', (_what, hex) => {
    expect(() => new U16FrameDecoder().push(Buffer.from(hex, 'hex'), () => {})).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }) as Error,
    );
  });
});

describe('u32 layout', () => {
  const client = { ip: Buffer.of(10, 0, 0, 1), port: 0x1234, zone: '' };

  it('is the one of the specification', () => {
    const frame = {
      flow: 5,
      ended: false,
      addresses: { client, local: UNKNOWN_ADDRESS },
      payload: Buffer.from('hi'),
    };
    expect(Buffer.concat(encodeFlowFrame(frame)!).toString('hex')).toBe(
      ['18000000', '05000000', '01', '16', '04', '0a000001', '3412', '00', '00', '0000', '00', '6869'].join(
        '',
      ),
    );
    const end = { flow: 6, ended: true, addresses: undefined, payload: Buffer.alloc(0) };
    expect(Buffer.concat(encodeFlowFrame(end)!).toString('hex')).toBe('0a00000006000000020a');
  });

  it('takes the largest datagram with zones', () => {
    const scoped = { ip: Buffer.alloc(16, 1), port: 1, zone: 'fifteen-charact' };
    const frame = {
      flow: 0xffff_ffff,
      ended: false,
      addresses: { client: scoped, local: scoped },
      payload: Buffer.alloc(MAX_DATAGRAM_BYTES, 7),
    };
    const seen: FlowFrame[] = [];
    new FlowFrameDecoder().push(Buffer.concat(encodeFlowFrame(frame)!), (found) => seen.push(found));
    expect(seen).toEqual([frame]);
  });

  it('says when a frame does not fit', () => {
    const long = { ...client, zone: 'z'.repeat(250) };
    const payload = Buffer.alloc(MAX_FLOW_FRAME_BYTES - 10);
    const frame = { flow: 1, ended: false, addresses: undefined, payload };
    expect(encodeFlowFrame(frame)).toBeDefined();
    expect(encodeFlowFrame({ ...frame, payload: Buffer.alloc(payload.length + 1) })).toBeUndefined();
    expect(encodeFlowFrame({ ...frame, addresses: { client: long, local: client } })).toBeUndefined();
  });

  it('skips flags and header fields of later versions', () => {
    const seen: FlowFrame[] = [];
    // total 15, flow 7, flag bit 7, a header of 12 with two unknown bytes, payload "abc"
    new FlowFrameDecoder().push(Buffer.from('0f00000007000000800cffff616263', 'hex'), (found) =>
      seen.push(found),
    );
    expect(seen).toEqual([{ flow: 7, ended: false, addresses: undefined, payload: Buffer.from('abc') }]);
  });

  it.each([
    ['a total below the fixed part', '0900000000000000000a'],
    ['a total above the limit', '010201000000000000000a'],
    ['a header below the fixed part', '0a000000000000000009'],
    ['a header behind the end', '0a00000000000000000b'],
    ['payload behind the end of a flow', '0b00000000000000020a00'],
    ['flag without addresses', '0a00000000000000010a'],
    ['an address family 5', '0b00000000000000010b05'],
    ['an address that is cut short', '0e00000000000000010e040a0000'],
    ['a zone that is cut short', '0f00000000000000010f0000000161'],
    ['a missing local address', '0e00000000000000010e00000000'],
    ['addresses that reach into the payload', '1200000000000000010e0000000000000000'],
  ])('refuses %s', (_what, hex) => {
    expect(() => new FlowFrameDecoder().push(Buffer.from(hex, 'hex'), () => {})).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }) as Error,
    );
  });
});
