import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { FrameDecoder, type FrameSink } from '../../../shared/mux/decoder.ts';
import {
  COMMAND,
  encodeBare,
  encodeControlHeader,
  encodeDataHeader,
  encodeErrno,
  encodeOpen,
  encodePing,
  encodeWindow,
  MAX_CONTROL_BYTES,
} from '../../../shared/mux/frame.ts';
import { encodeDetails } from '../../../shared/stream-details.ts';
import { cutAt, cuts } from '../../helpers/splits.ts';

/** Everything a decoder says, with the slices of a payload joined, so that splits can be compared. */
function record(): { sink: FrameSink; events: unknown[] } {
  const events: unknown[] = [];
  const sink: FrameSink = {
    opened: (id, destination, details) =>
      events.push(details === undefined ? ['open', id, destination] : ['open', id, destination, details]),
    close: (id) => events.push(['close', id]),
    shutdown: (id) => events.push(['shutdown', id]),
    window: (id, sequence) => events.push(['window', id, sequence]),
    dataBegin: (id, length) => events.push(['data', id, length, '']),
    data: (id, slice) => {
      const last = events.at(-1) as [string, number, number, string];
      expect(last[1]).toBe(id);
      last[3] += slice.toString('hex');
    },
    dialResult: (id, errno) => events.push(['dialResult', id, errno]),
    reset: (id, errno) => events.push(['reset', id, errno]),
    streamReset: (id, errno) => events.push(['streamReset', id, errno]),
    control: (payload) => events.push(['control', payload.toString('hex')]),
    ping: (number) => events.push(['ping', number]),
    pong: (number) => events.push(['pong', number]),
  };
  return { sink, events };
}

function decode(pieces: Buffer[]): unknown[] {
  const { sink, events } = record();
  const decoder = new FrameDecoder(sink);
  for (const piece of pieces) decoder.push(piece);
  return events;
}

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ''), 'hex');
const id = fc.nat({ max: 0xffff_ffff });
const errno = fc.nat({ max: 0xffff_ffff });
const payload = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));

/** One valid frame: its bytes, and what decoding says. */
const frame: fc.Arbitrary<{ bytes: Buffer; event: unknown }> = fc.oneof(
  fc
    .record({ id, port: fc.nat({ max: 65_535 }), ip: fc.constantFrom('10.1.2.3', 'fd00::1', '::') })
    .map((x) => {
      const destination = { protocol: 'tcp', ip: x.ip, port: x.port } as const;
      return { bytes: encodeOpen(x.id, destination), event: ['open', x.id, destination] };
    }),
  id.map((x) => {
    const destination = { protocol: 'unix', path: '/tmp/ä/socket' } as const;
    return { bytes: encodeOpen(x, destination), event: ['open', x, destination] };
  }),
  fc.record({ id, port: fc.nat({ max: 65_535 }), keepalive: fc.nat() }).map((x) => {
    const destination = { protocol: 'tcp', ip: '10.1.2.3', port: 80 } as const;
    const details = { client: { ip: 'fd00::7', port: x.port }, keepalive: x.keepalive };
    const bytes = encodeOpen(x.id, destination, encodeDetails(details));
    return { bytes, event: ['open', x.id, destination, details] };
  }),
  id.map((x) => ({ bytes: encodeBare(COMMAND.close, x), event: ['close', x] })),
  id.map((x) => ({ bytes: encodeBare(COMMAND.shutdown, x), event: ['shutdown', x] })),
  fc.record({ id, seq: fc.maxSafeNat() }).map((x) => ({
    bytes: encodeWindow(x.id, x.seq),
    event: ['window', x.id, x.seq],
  })),
  fc.record({ id, payload }).map((x) => ({
    bytes: Buffer.concat([encodeDataHeader(x.id, x.payload.length), x.payload]),
    event: ['data', x.id, x.payload.length, x.payload.toString('hex')],
  })),
  payload
    .filter((bytes) => bytes.length > 0)
    .map((x) => ({
      bytes: Buffer.concat([encodeControlHeader(x.length), x]),
      event: ['control', x.toString('hex')],
    })),
  id.map((x) => ({ bytes: encodePing(COMMAND.ping, x), event: ['ping', x] })),
  id.map((x) => ({ bytes: encodePing(COMMAND.pong, x), event: ['pong', x] })),
  fc.record({ id, errno }).map((x) => ({
    bytes: encodeErrno(COMMAND.dialResult, x.id, x.errno),
    event: ['dialResult', x.id, x.errno],
  })),
  fc.record({ id, errno }).map((x) => ({
    bytes: encodeErrno(COMMAND.reset, x.id, x.errno),
    event: ['reset', x.id, x.errno],
  })),
  fc.record({ id, errno }).map((x) => ({
    bytes: encodeErrno(COMMAND.streamReset, x.id, x.errno),
    event: ['streamReset', x.id, x.errno],
  })),
);

describe('frames on the wire', () => {
  // What vpnkit's own encoder writes for these frames, byte by byte.
  it.each([
    ['close', encodeBare(COMMAND.close, 6), '0700 02 06000000'],
    ['shutdown', encodeBare(COMMAND.shutdown, 7), '0700 03 07000000'],
    ['data', encodeDataHeader(8, 128), '0b00 04 08000000 80000000'],
    ['window', encodeWindow(9, 8_888_888), '0f00 05 09000000 38a2870000000000'],
    [
      'open tcp',
      encodeOpen(4, { protocol: 'tcp', ip: '127.0.0.1', port: 8080 }),
      '1100 01 04000000 02 01 0400 7f000001 901f',
    ],
    [
      'open tcp6',
      encodeOpen(5, { protocol: 'tcp', ip: '::1', port: 8080 }),
      '1d00 01 05000000 02 01 1000 00000000000000000000000000000001 901f',
    ],
    [
      'open unix',
      encodeOpen(5, { protocol: 'unix', path: '/tmp/foo' }),
      '1300 01 05000000 02 03 0800 2f746d702f666f6f',
    ],
  ])('%s', (_name, encoded, expected) => {
    expect(encoded.toString('hex')).toBe(expected.replace(/\s/g, ''));
  });

  it('takes an IPv4-mapped address as the IPv4 address that it is', () => {
    const bytes = hex('1d00 01 05000000 02 01 1000 00000000000000000000ffff7f000001 901f');
    expect(decode([bytes])).toEqual([['open', 5, { protocol: 'tcp', ip: '127.0.0.1', port: 8080 }]]);
  });
});

describe('FrameDecoder', () => {
  it('decodes any frames in any split of the stream', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), cuts, (frames, at) => {
        const bytes = Buffer.concat(frames.map((each) => each.bytes));
        expect(decode(cutAt(bytes, at))).toEqual(frames.map((each) => each.event));
      }),
    );
  });

  it('decodes a stream that comes byte by byte', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), (frames) => {
        const bytes = Buffer.concat(frames.map((each) => each.bytes));
        const pieces = [...bytes].map((byte) => Buffer.from([byte]));
        expect(decode(pieces)).toEqual(frames.map((each) => each.event));
      }),
      { numRuns: 50 },
    );
  });

  it('answers arbitrary bytes with frames or a PROTOCOL error, never anything else', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 8 }), (chunks) => {
        try {
          decode(chunks.map((chunk) => Buffer.from(chunk)));
        } catch (error) {
          expect(error).toBeInstanceOf(BridgeError);
          expect((error as BridgeError).code).toBe('PROTOCOL');
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['a header shorter than its fixed part', '0600 02 06000000'],
    ['a header of 65,535 bytes', 'ffff 02 06000000'],
    ['an unknown command', '0700 09 06000000'],
    ['a close with a body', '0800 02 06000000 00'],
    ['data without its length', '0700 04 08000000'],
    ['a dedicated open', '1100 01 04000000 01 01 0400 7f000001 901f'],
    ['an open of protocol 4', '1100 01 04000000 02 04 0400 7f000001 901f'],
    ['an open with five bytes of address', '1200 01 04000000 02 01 0500 7f00000100 901f'],
    ['an open with a byte too many', '1200 01 04000000 02 01 0400 7f000001 901f 05'],
    ['an open that ends in its address', '0d00 01 04000000 02 01 0400 7f00'],
    ['an open without a body', '0700 01 04000000'],
    ['a unix path with a NUL', '0d00 01 05000000 02 03 0200 2f00'],
    ['an empty unix path', '0b00 01 05000000 02 03 0000'],
    ['a window above 2^53', '0f00 05 09000000 0000000000002000'],
    ['an empty control message', '0b00 40 00000000 00000000'],
  ])('refuses %s', (_name, bytes) => {
    expect(() => decode([hex(bytes)])).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
  });

  it('refuses a control message that is too large before any of it has come', () => {
    expect(() => decode([encodeControlHeader(MAX_CONTROL_BYTES + 1)])).toThrow(/control message of/);
  });
});
