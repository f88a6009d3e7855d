import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ByteRate } from '../../shared/byte-rate.ts';
import { type Pace, paceByTimeout } from '../../shared/pace.ts';

let rate: ByteRate;
let pace: Pace;
let passed: string[];

const waiter = (name: string) => ({ due: () => void passed.push(name) });

/** 100 bytes take 100 ms, and 50 are free. */
beforeEach(() => {
  vi.useFakeTimers();
  rate = new ByteRate();
  rate.perSecond = 1_000;
  pace = paceByTimeout(rate);
  passed = [];
});

afterEach(() => {
  vi.useRealTimers();
});

describe('those who wait', () => {
  it('pass when they are due, first come first served', () => {
    expect(pace.book(waiter('at once'), 50)).toBe(true);
    for (const name of ['a', 'b', 'c']) expect(pace.book(waiter(name), 100)).toBe(false);
    vi.advanceTimersByTime(99);
    expect(passed).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(passed).toEqual(['a']);
    vi.advanceTimersByTime(100);
    expect(passed).toEqual(['a', 'b']);
    vi.advanceTimersByTime(100);
    expect(passed).toEqual(['a', 'b', 'c']);
    expect([pace.first, vi.getTimerCount()]).toEqual([Number.POSITIVE_INFINITY, 0]);
  });

  it('may book again as they pass, and take turns', () => {
    const again = (name: string): { due(): void } => {
      const self = {
        due: () => {
          passed.push(name);
          if (passed.length < 6) pace.book(self, 100);
        },
      };
      return self;
    };
    for (const name of ['a', 'b']) pace.book(again(name), 100);
    vi.advanceTimersByTime(1_000);
    expect(passed.slice(0, 6)).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
  });

  it('are due sooner when those before them are gone', () => {
    const [gone, left] = [waiter('gone'), waiter('left')];
    pace.book(gone, 1_000);
    pace.book(left, 100);
    pace.cancel(gone);
    vi.advanceTimersByTime(200);
    expect(passed).toEqual(['left']);
  });

  it('leave nothing behind when they are gone', () => {
    const gone = waiter('gone');
    pace.book(gone, 1_000);
    pace.cancel(gone);
    pace.cancel(gone);
    expect([pace.first, rate.wait]).toEqual([Number.POSITIVE_INFINITY, 0]);
    vi.advanceTimersByTime(2_000);
    expect([passed, vi.getTimerCount()]).toEqual([[], 0]);
  });
});

describe('another rate', () => {
  it('holds for those who wait already, without a word to them', () => {
    pace.book(waiter('a'), 5_050);
    vi.advanceTimersByTime(1_000);
    rate.perSecond = 2_000;
    vi.advanceTimersByTime(2_100);
    expect(passed).toEqual(['a']);
  });

  it('that is lower makes them wait longer', () => {
    pace.book(waiter('a'), 350);
    rate.perSecond = 100;
    vi.advanceTimersByTime(2_000);
    expect(passed).toEqual([]);
    vi.advanceTimersByTime(100);
    expect(passed).toEqual(['a']);
  });

  it('is none: all pass', () => {
    for (const name of ['a', 'b']) pace.book(waiter(name), 100_000);
    rate.perSecond = undefined;
    vi.advanceTimersByTime(100);
    expect(passed).toEqual(['a', 'b']);
  });
});
