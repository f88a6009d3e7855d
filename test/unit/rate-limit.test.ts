import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RateLimit } from '../../shared/rate-limit.ts';

function limitAt(perSecond: number, start = 0) {
  const clock = { now: start };
  const lines: string[] = [];
  const log = { warn: (_fields: object, line: string) => lines.push(line) };
  return { clock, lines, limit: new RateLimit('things', perSecond, log, () => clock.now) };
}

const taken = (limit: RateLimit, tries: number) =>
  Array.from({ length: tries }, () => limit.take()).filter(Boolean).length;

describe('a rate limit', () => {
  it("lets a second's worth through at once, then so many a second", () => {
    const { clock, limit } = limitAt(10);
    expect(taken(limit, 30)).toBe(10);
    clock.now += 100_000;
    expect(taken(limit, 30)).toBe(1);
    clock.now += 550_000;
    expect(taken(limit, 30)).toBe(5);
    clock.now += 60_000_000;
    expect(taken(limit, 30)).toBe(10);
    expect(limit.refused).toBe(120 - 26);
  });

  it('is logged once until half of it is free again', () => {
    const { clock, lines, limit } = limitAt(10);
    taken(limit, 30);
    clock.now += 100_000;
    taken(limit, 30);
    expect(lines).toEqual(['limit reached: things (10 a second)']);
    clock.now += 1_000_000;
    taken(limit, 30);
    expect(lines).toHaveLength(2);
  });

  it('may change, for all who share it', () => {
    const { clock, limit } = limitAt(1_000);
    const theirs = RateLimit.of(structuredClone(limit.share), { warn() {} });
    limit.perSecond = 2;
    expect(theirs.perSecond).toBe(2);
    expect(taken(limit, 30)).toBe(2);
    limit.perSecond = 4;
    clock.now += 500_000;
    expect(taken(limit, 30)).toBe(2);
  });

  it('holds for any rate, wherever the clock stands, and comes back after any time', () => {
    const times = fc.array(fc.nat(3_000_000), { maxLength: 40 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.nat(2 ** 40), times, (rate, start, pauses) => {
        const { clock, limit } = limitAt(rate, start);
        let sum = taken(limit, 100);
        for (const pause of pauses) {
          clock.now += pause;
          sum += taken(limit, 100);
        }
        const seconds = (clock.now - start) / 1_000_000;
        expect(sum).toBeLessThanOrEqual(rate * (1 + seconds) + 0.001);
        clock.now += 2_000_000 + (start % 600_000_000);
        // The time between two is a whole number of microseconds, never less than it should be.
        expect(taken(limit, 100)).toBe(Math.floor(1_000_000 / Math.ceil(1_000_000 / rate)));
      }),
    );
  });

  it('of 100,000 a second is no obstacle to who comes one after the other', () => {
    const limit = new RateLimit('things', 100_000);
    expect(taken(limit, 1_000)).toBe(1_000);
  });
});
