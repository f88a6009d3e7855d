import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../../../shared/transport/crc32.ts';
import { encodeSerialFrame, encodeSerialHello } from '../../../shared/transport/serial-frame.ts';
import { SerialSession } from '../../../shared/transport/serial-session.ts';

/** A session and what became of it; what it sends waits in `out`. */
class Side {
  readonly out: Buffer[] = [];
  readonly got: Buffer[] = [];
  open = false;
  why = '';
  readonly session = new SerialSession({
    send: (bytes) => this.out.push(Buffer.from(bytes)),
    opened: () => {
      this.open = true;
    },
    data: (payload) => this.got.push(Buffer.from(payload)),
    over: ({ message }) => {
      this.why = message;
    },
  });

  get text(): string {
    return Buffer.concat(this.got).toString('latin1');
  }

  take(): Buffer {
    return Buffer.concat(this.out.splice(0));
  }
}

/** Passes bytes both ways, in pieces, until nobody has more to say. */
function pass(a: Side, b: Side, piece = 1_000_000): void {
  for (let quiet = false; !quiet; ) {
    quiet = true;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const bytes = from.take();
      for (let at = 0; at < bytes.length; at += piece) to.session.receive(bytes.subarray(at, at + piece));
      if (bytes.length > 0) quiet = false;
    }
  }
}

function meet(a: Side, b: Side, piece?: number): void {
  a.session.hello();
  b.session.hello();
  pass(a, b, piece);
}

const garbage = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
/** What earlier sessions may have left, whole or cut off. */
const stale = fc
  .array(
    fc
      .tuple(fc.constantFrom('hello', 'echo', 'data', 'end', 'garbage'), garbage, fc.nat(300))
      .map(([kind, bytes, cut]) => {
        const other = Buffer.alloc(8, 7);
        if (kind === 'garbage') return bytes;
        if (kind === 'hello') return encodeSerialHello(other, Buffer.alloc(8)).subarray(0, cut);
        if (kind === 'echo') return encodeSerialHello(other, Buffer.alloc(8, 9)).subarray(0, cut);
        return Buffer.concat(
          encodeSerialFrame(kind as 'data' | 'end', other, 3, kind === 'data' ? bytes : undefined),
        ).subarray(0, cut);
      }),
    { maxLength: 6 },
  )
  .map((parts) => Buffer.concat(parts));

describe('a session over a serial port', () => {
  it('knows CRC-32', () => {
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf4_3926);
  });

  it('begins and carries every byte behind whatever stood there before, in every split', () => {
    fc.assert(
      fc.property(
        stale,
        stale,
        fc.integer({ min: 1, max: 70 }),
        garbage,
        (before, behind, piece, payload) => {
          const [a, b] = [new Side(), new Side()];
          a.session.receive(before);
          b.session.receive(behind);
          meet(a, b, piece);
          // A header that was cut off may have taken a hello with it: it is repeated.
          meet(a, b, piece);
          expect([a.open, b.open, a.why, b.why]).toEqual([true, true, '', '']);
          a.session.write(payload);
          b.session.write(Buffer.from('answer'));
          pass(a, b, piece);
          expect(b.text).toBe(payload.toString('latin1'));
          expect(a.text).toBe('answer');
        },
      ),
    );
  });

  it('does not begin with a hello that is left over, though it is a valid one', () => {
    const [old, b] = [new Side(), new Side()];
    old.session.hello();
    const left = old.take();
    b.session.receive(left);
    expect(b.open).toBe(false);
    const a = new Side();
    meet(a, b);
    expect([a.open, b.open]).toEqual([true, true]);
  });

  it('does not take its own echo for a peer', () => {
    const a = new Side();
    for (let round = 0; round < 3; round++) {
      a.session.hello();
      a.session.receive(a.take());
    }
    expect(a.open).toBe(false);
    const b = new Side();
    meet(a, b);
    expect([a.open, b.open]).toEqual([true, true]);
  });

  it('ends when a single byte is lost or changed, and passes on nothing wrong', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.boolean(), fc.integer({ min: 1, max: 255 }), (where, lose, change) => {
        const [a, b] = [new Side(), new Side()];
        meet(a, b);
        a.session.write(Buffer.alloc(100, 'x'));
        a.session.write(Buffer.alloc(100, 'y'));
        a.session.beat();
        const sent = a.take();
        const at = where % sent.length;
        const wrong = lose
          ? Buffer.concat([sent.subarray(0, at), sent.subarray(at + 1)])
          : Buffer.from(sent.map((byte, index) => (index === at ? byte ^ change : byte)));
        b.session.receive(wrong);
        a.session.write(Buffer.alloc(300, 'z'));
        b.session.receive(a.take());
        expect(b.why).toMatch(/lost|anew/);
        expect('x'.repeat(100) + 'y'.repeat(100)).toContain(b.text);
      }),
    );
  });

  it('ends when the other side began anew, whose hello is kept for the next session', () => {
    const [a, b] = [new Side(), new Side()];
    meet(a, b);
    const again = new Side();
    again.session.hello();
    b.session.receive(again.take());
    expect(b.why).toContain('began anew');
    const next = new Side();
    next.session.receive(b.session.rest);
    pass(again, next);
    meet(again, next);
    expect([again.open, next.open]).toEqual([true, true]);
  });

  it('ends at once when the other side began anew in the middle of a frame', () => {
    const [a, b] = [new Side(), new Side()];
    meet(a, b);
    a.session.write(Buffer.alloc(16_384, 'x'));
    b.session.receive(a.take().subarray(0, 100));
    const again = new Side();
    again.session.begin();
    b.session.receive(again.take());
    expect(b.why).toMatch(/lost or garbled/);
    const next = new Side();
    next.session.receive(b.session.rest);
    meet(again, next);
    expect([again.open, next.open]).toEqual([true, true]);
  });

  it('ends when the other side says so', () => {
    const [a, b] = [new Side(), new Side()];
    meet(a, b);
    a.session.end();
    pass(a, b);
    expect(b.why).toContain('has ended the session');
  });

  it('survives any bytes, whether it has begun or not', () => {
    fc.assert(
      fc.property(fc.array(garbage), fc.boolean(), (chunks, begun) => {
        const [a, b] = [new Side(), new Side()];
        if (begun) meet(a, b);
        for (const chunk of chunks) b.session.receive(chunk);
        expect(b.text).toBe('');
        expect(b.session.rest.length).toBeLessThan(begun ? 10_000 : 28);
      }),
    );
  });
});
