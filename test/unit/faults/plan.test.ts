import { expect, it } from 'vitest';
import { POINTS, pointsOf } from '../../faults/points.ts';
import { planOf } from '../../faults/round.ts';

it('has at least 25 points with names of their own, on both lanes', () => {
  expect(new Set(POINTS.map(({ name }) => name)).size).toBe(POINTS.length);
  for (const lane of ['dedicated', 'multiplexed'] as const) expect(pointsOf(lane).length).toBeGreaterThan(25);
});

it('a seed tells the whole plan, and seeds in a row reach most points', () => {
  expect(planOf(7, 'dedicated')).toEqual(planOf(7, 'dedicated'));
  const plans = Array.from({ length: 600 }, (_, seed) => planOf(seed, 'multiplexed'));
  const reached = new Set(plans.map(({ point }) => point.name)).size;
  expect(reached).toBeGreaterThan(pointsOf('multiplexed').length * 0.9);
  expect(new Set(plans.map(({ victim }) => victim))).toEqual(new Set(['claimer', 'shim', 'host', 'link']));
});
