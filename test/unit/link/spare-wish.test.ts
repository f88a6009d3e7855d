import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SpareBackoff } from '../../../shared/link/spare-backoff.ts';
import { MAX_SPARES, nextWish, SPARES_READY } from '../../../shared/link/spare-wish.ts';

describe('nextWish', () => {
  it('is a few while nobody waits, and more than those who do, up to the most', () => {
    expect(nextWish(0, 0)).toBe(SPARES_READY);
    fc.assert(
      fc.property(fc.nat({ max: 1_000 }), (waiting) => {
        const wish = nextWish(0, waiting);
        expect(wish).toBeGreaterThanOrEqual(Math.min(MAX_SPARES, SPARES_READY + waiting));
        expect(wish).toBeLessThanOrEqual(MAX_SPARES);
      }),
    );
  });

  it('changes a few times, not with every client of a burst, and comes back', () => {
    let wish = nextWish(0, 0);
    let changes = 0;
    const waiting = [...Array(500).keys(), ...[...Array(500).keys()].reverse()];
    for (const each of waiting) {
      const next = nextWish(wish, each);
      if (next !== wish) changes++;
      wish = next;
    }
    expect(changes).toBeLessThan(8);
    expect(wish).toBeLessThanOrEqual(2 * SPARES_READY);
  });
});

describe('SpareBackoff', () => {
  it('doubles from one run of failures to the next up to 5 s; those that fail together count once', () => {
    const backoff = new SpareBackoff();
    const delays: number[] = [];
    for (let round = 0; round < 10; round++) {
      delays.push(backoff.failed(0)!);
      expect(backoff.waits).toBe(true);
      expect(backoff.failed(0)).toBeUndefined();
      backoff.over();
    }
    expect(delays).toEqual([50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
  });

  it('begins anew when a stream was of use, or had lived for long', () => {
    const backoff = new SpareBackoff();
    const fail = (livedMs = 0): number | undefined => {
      const delay = backoff.failed(livedMs);
      backoff.over();
      return delay;
    };
    expect([fail(), fail()]).toEqual([50, 100]);
    backoff.succeeded();
    expect([fail(), fail(), fail(60_000)]).toEqual([50, 100, 50]);
  });
});
