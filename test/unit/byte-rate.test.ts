import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteRate } from '../../shared/byte-rate.ts';

const SECOND = 1_000_000_000n;

/** A rate with a clock that is set by hand, and what other threads have of it. */
function rateOf(perSecond: number | undefined, threads = 1) {
  const clock = { now: 5n * SECOND };
  const first = new ByteRate(undefined, () => clock.now);
  first.perSecond = perSecond;
  const others = Array.from({ length: threads - 1 }, () => new ByteRate(first.share, () => clock.now));
  const pass = (ms: number): void => {
    clock.now += BigInt(Math.ceil(ms * 1e6));
  };
  return { clock, rates: [first, ...others], rate: first, pass };
}

it('without a limit nobody waits', () => {
  const rate = new ByteRate();
  expect([rate.limited, rate.perSecond]).toEqual([false, undefined]);
  expect([rate.book(1e12), rate.admit(1e12), rate.book(1), rate.wait]).toEqual([0, true, 0, 0]);
});

/** What a thread does next: waits for its bytes to pass, or sends a datagram. */
const arbSteps = fc.array(
  fc.record({
    /** Milliseconds after the last. */
    after: fc.integer({ min: 0, max: 30 }),
    thread: fc.nat({ max: 2 }),
    /** Part of a turn. */
    part: fc.integer({ min: 1, max: 100 }),
    datagram: fc.boolean(),
  }),
  { minLength: 1, maxLength: 80 },
);

it('from any moment on, all threads carry no more than the rate, a burst, and datagrams ahead of who waits', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1_000, max: 1e9 }), arbSteps, (perSecond, steps) => {
      const { clock, rates, pass } = rateOf(perSecond, 3);
      const carried: Array<{ at: number; bytes: number }> = [];
      let longest = 0;
      for (const { after, thread, part, datagram } of steps) {
        pass(after);
        const rate = rates[thread]!;
        const bytes = Math.ceil((rate.turn * part) / 100);
        const now = Number(clock.now) / 1e6;
        if (datagram) {
          if (rate.admit(bytes)) carried.push({ at: now, bytes });
          continue;
        }
        const wait = rate.book(bytes);
        longest = Math.max(longest, wait);
        carried.push({ at: now + wait, bytes });
      }
      carried.sort((one, other) => one.at - other.at);
      const largest = rates[0]!.turn;
      for (let from = 0; from < carried.length; from++) {
        let bytes = 0;
        for (let to = from; to < carried.length; to++) {
          bytes += carried[to]!.bytes;
          const ms = carried[to]!.at - carried[from]!.at;
          // A datagram is admitted whole when there is room for its first byte. Those that go ahead have half of the rate.
          const common = ((ms + 100) / 1_000) * perSecond + largest;
          const ahead = ((Math.min(longest, ms) / 2 + 50) / 1_000) * perSecond + largest;
          expect(bytes).toBeLessThanOrEqual((common + ahead) * 1.000001 + 1);
        }
      }
    }),
  );
});

it('who keeps asking gets all of the rate, in turns, in whatever thread', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1_000, max: 1e9 }),
      fc.integer({ min: 1, max: 20 }),
      (perSecond, streams) => {
        const { clock, rates, rate } = rateOf(perSecond, 2);
        // Somebody has had what is free.
        while (rate.wait === 0) rate.book(rate.turn);
        const began = clock.now;
        const next = Array.from({ length: streams }, () => began);
        const got = next.map(() => 0);
        const turns = 20 * streams;
        for (let turn = 0; turn < turns; turn++) {
          const at = next.reduce((one, other) => (other < one ? other : one));
          const stream = next.indexOf(at);
          if (at > clock.now) clock.now = at;
          const wait = rates[stream % 2]!.book(rate.turn);
          next[stream] = clock.now + BigInt(Math.ceil(wait * 1e6));
          got[stream]!++;
        }
        expect(Math.max(...got) - Math.min(...got)).toBeLessThanOrEqual(1);
        const seconds = Number(clock.now - began) / 1e9;
        expect(turns * rate.turn).toBeGreaterThanOrEqual(seconds * perSecond * 0.99);
      },
    ),
  );
});

it('what cannot wait is dropped while more than a burst is owed, and costs nothing then', () => {
  const { rate, pass } = rateOf(1_000);
  expect([rate.admit(100), rate.admit(50), rate.admit(1)]).toEqual([true, true, false]);
  pass(49);
  expect(rate.admit(1)).toBe(false);
  pass(2);
  expect(rate.admit(1)).toBe(true);
});

it('what waits leaves room for what cannot', () => {
  const { rate } = rateOf(1_000_000);
  while (rate.wait === 0) rate.book(rate.turn);
  expect(rate.wait).toBeLessThanOrEqual(10);
  expect(rate.admit(1_400)).toBe(true);
});

it('half of the rate is for datagrams however many connections wait; half is for five connections and more in a flood', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1_000, max: 5e6 }),
      fc.integer({ min: 5, max: 30 }),
      fc.double({ min: 0.01, max: 3, noNaN: true }),
      (perSecond, streams, offered) => {
        const { clock, rates, rate } = rateOf(perSecond, 2);
        const [turn, size, seconds] = [rate.turn, Math.ceil(rate.turn / 5), 5];
        const gap = BigInt(Math.ceil((size / (offered * perSecond)) * 1e9));
        const end = clock.now + BigInt(seconds) * SECOND;
        /** When each stream has what it waits for, and then when the next datagram comes. */
        const next = Array.from({ length: streams + 1 }, () => clock.now);
        const dues = next.map(() => 0);
        const sum = { came: 0, datagrams: 0, connections: 0 };
        for (;;) {
          const at = next.reduce((one, other) => (other < one ? other : one));
          if (at >= end) break;
          clock.now = at;
          const who = next.indexOf(at);
          const own = rates[who % 2]!;
          if (who === streams) {
            sum.came += size;
            if (own.admit(size)) sum.datagrams += size;
            next[who] = at + gap;
          } else {
            sum.connections += dues[who]!;
            dues[who] = turn;
            next[who] = at + BigInt(Math.ceil(own.book(turn) * 1e6));
          }
        }
        const all = perSecond * seconds;
        if (offered <= 0.5) expect(sum.datagrams).toBe(sum.came);
        else expect(sum.datagrams).toBeGreaterThanOrEqual(all / 2);
        expect(sum.connections).toBeGreaterThanOrEqual((all / 2) * 0.98);
        const total = sum.datagrams + sum.connections;
        expect(total).toBeGreaterThanOrEqual(all * 0.98);
        expect(total).toBeLessThanOrEqual(all + streams * turn + 0.15 * perSecond + 2 * size);
      },
    ),
    { numRuns: 20 },
  );
});

it('what is kept for datagrams is of the rate that holds', () => {
  const { rate, pass } = rateOf(10_000);
  rate.book(10_000);
  expect([rate.admit(1_000), rate.admit(1)]).toEqual([true, false]); // 200 ms of the half
  rate.perSecond = 100_000; // 20 ms
  expect([rate.admit(5_000), rate.admit(1)]).toEqual([true, false]); // and 100 ms
  pass(21);
  expect(rate.admit(5_000)).toBe(true);
  rate.perSecond = undefined;
  rate.perSecond = 10_000;
  rate.book(10_000);
  expect(rate.admit(1_000)).toBe(true);
});

it('a booking may be taken back', () => {
  const { rate } = rateOf(10_000);
  expect(rate.book(1_000)).toBe(50);
  expect(rate.book(500)).toBe(100);
  rate.cancel(1_000);
  expect([rate.wait, rate.book(100)]).toEqual([0, 10]);
});

it('may change while it is used, for all threads; what is owed stays as many bytes', () => {
  const { rate, rates } = rateOf(1_000, 2);
  const other = rates[1]!;
  expect(rate.book(1_000)).toBe(950);
  rate.perSecond = 10_000;
  expect([other.perSecond, other.wait, other.turn]).toEqual([10_000, 50, 500]);
  expect(other.book(1_000)).toBe(150);
  rate.perSecond = undefined;
  expect([other.limited, other.book(1_000), other.admit(1_000)]).toEqual([false, 0, true]);
  rate.perSecond = 1_000;
  expect(other.book(100)).toBe(50);
});

it('turns are of a hundredth of a second, within bounds', () => {
  const turns = [1_000, 10_000, 1_000_000, 1e9].map((perSecond) => rateOf(perSecond).rate.turn);
  expect(turns).toEqual([50, 500, 10_000, 65_536]);
});
