import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Measure } from '../../bench/measures.ts';
import type { Outcome } from '../../bench/round.ts';
import { spread } from '../../bench/statistics.ts';
import { markdown, tableOf } from '../../bench/table.ts';
import { median } from '../../helpers/median.ts';

const speed: Measure = {
  name: 'speed',
  udp: false,
  columns: [{ key: 'rate', title: 'rate, Gb/s', digits: 1 }],
  measure: async () => ({}),
};

function outcome(peer: string, rate?: number): Outcome {
  return rate === undefined
    ? { peer, figures: {}, failed: { speed: 'a stream broke' } }
    : { peer, figures: { rate }, failed: {} };
}

function rows(outcomes: readonly Outcome[], spreads: boolean): string[][] {
  return tableOf({ outcomes, measures: [speed], peers: ['base', 'other'], baseline: 'base', spreads });
}

describe('median and spread', () => {
  it('stand between the least and the most, in whatever order figures come', () => {
    const figures = fc.array(fc.double({ min: 0.001, max: 1e9, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(figures, (some) => {
        const sorted = [...some].sort((a, b) => a - b);
        expect(median(some)).toBe(median(sorted));
        expect(median(some)).toBeGreaterThanOrEqual(sorted[0]!);
        expect(median(some)).toBeLessThanOrEqual(sorted.at(-1)!);
        expect(spread(some)).toBeGreaterThanOrEqual(0);
      }),
    );
    expect(median([4, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(spread([9, 10, 11])).toBeCloseTo(0.2);
    expect(spread([0, 0])).toBe(0);
    expect(spread([])).toBe(0);
    expect(median([])).toBeNaN();
  });
});

describe('tableOf', () => {
  it('has medians and ratios to the baseline, and marks rounds that lie far apart', () => {
    const outcomes = [10, 12, 14].flatMap((rate) => [outcome('base', rate), outcome('other', 6)]);
    expect(rows(outcomes, false)).toEqual([
      ['', 'base', 'other'],
      ['rate, Gb/s', '12.0 ~', '6.0 (0.50×)'],
    ]);
    expect(rows(outcomes, true)[1]).toEqual(['rate, Gb/s', '12.0 (±17 %)', '6.0 (0.50×, ±0 %)']);
  });

  it('shows a peer as failed when one of its rounds was, and leaves out what nobody has', () => {
    expect(rows([outcome('base', 10), outcome('other', 10), outcome('other')], false)[1]).toEqual([
      'rate, Gb/s',
      '10.0',
      'failed',
    ]);
    expect(rows([{ peer: 'base', figures: {}, failed: {} }], false)).toHaveLength(1);
  });

  it('becomes a table in Markdown', () => {
    expect(markdown(rows([outcome('base', 10)], false))).toBe(
      [
        '|            | base | other |',
        '| ---------- | ---: | ----: |',
        '| rate, Gb/s | 10.0 |     - |',
      ].join('\n'),
    );
  });
});
