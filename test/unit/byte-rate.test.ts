import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteRate } from '../../shared/byte-rate.ts';

it('without a limit nobody waits', () => {
  const rate = new ByteRate(undefined);
  expect([rate.charge(1e12), rate.admit(1e12), rate.charge(1)]).toEqual([0, true, 0]);
});

it('whoever waits as told keeps to the rate, together with all others', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 65_536 }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1_000, max: 1e9 }),
      sizes,
      fc.integer({ min: 1, max: 5 }),
      (perSecond, all, readers) => {
        let now = 1_000;
        const rate = new ByteRate(perSecond, () => now);
        // When each reader may read again.
        const free = Array.from({ length: readers }, () => now);
        let carried = 0;
        for (const size of all) {
          const next = free.indexOf(Math.min(...free));
          now = Math.max(now, free[next]!);
          free[next] = now + rate.charge(size);
          carried += size;
        }
        // Each reader may be ahead by the last that it read, all together by a tenth of a second.
        const allowed = ((now - 1_000) / 1_000 + 0.1) * perSecond + readers * 65_536;
        expect(carried).toBeLessThanOrEqual(allowed * 1.000001);
      },
    ),
  );
});

it('what cannot wait is dropped while others are to be paid for, and costs nothing', () => {
  let now = 0;
  const rate = new ByteRate(1_000, () => now);
  expect([rate.admit(100), rate.admit(50), rate.admit(1)]).toEqual([true, true, false]);
  now += 49;
  expect(rate.admit(1)).toBe(false);
  now += 2;
  expect(rate.admit(1)).toBe(true);
});

it('may change while it is used', () => {
  const rate = new ByteRate(1_000, () => 0);
  expect(rate.charge(1_000)).toBe(900);
  rate.perSecond = 10_000;
  expect(rate.charge(1_000)).toBe(1_000);
  rate.perSecond = undefined;
  expect(rate.charge(1_000)).toBe(0);
});
