import { expect, it } from 'vitest';
import { POINTS, pointsOf } from '../../faults/points.ts';
import { planOf } from '../../faults/round.ts';

it('has at least 25 points with names of their own, on every lane', () => {
  expect(new Set(POINTS.map(({ name }) => name)).size).toBe(POINTS.length);
  for (const lane of ['dedicated', 'multiplexed', 'shim-dialled'] as const)
    expect(pointsOf(lane).length).toBeGreaterThan(25);
});

it('streams that the shim opens have the points of dedicated ones besides their own', () => {
  const names = (lane: Parameters<typeof pointsOf>[0]) => pointsOf(lane).map(({ name }) => name);
  expect(names('shim-dialled')).toEqual(expect.arrayContaining(names('dedicated')));
  expect(names('dedicated').some((name) => name.includes('spare'))).toBe(false);
  expect(names('shim-dialled').filter((name) => name.includes('spare')).length).toBeGreaterThan(6);
});

it('at a step of writing the state file it is the host agent that is killed', () => {
  const plans = Array.from({ length: 2_000 }, (_, seed) => planOf(seed, 'shim-dialled'));
  const writing = plans.filter(({ point }) => point.place === 'state file');
  expect(new Set(writing.map(({ point }) => point.name)).size).toBe(12);
  expect(writing.every(({ victim }) => victim === 'host')).toBe(true);
});

it('a seed tells the whole plan, and seeds in a row reach most points', () => {
  expect(planOf(7, 'dedicated')).toEqual(planOf(7, 'dedicated'));
  const plans = Array.from({ length: 600 }, (_, seed) => planOf(seed, 'multiplexed'));
  const reached = new Set(plans.map(({ point }) => point.name)).size;
  expect(reached).toBeGreaterThan(pointsOf('multiplexed').length * 0.9);
  expect(new Set(plans.map(({ victim }) => victim))).toEqual(new Set(['claimer', 'shim', 'host', 'link']));
});
