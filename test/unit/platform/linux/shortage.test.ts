import { expect, it } from 'vitest';
import { Shortage } from '../../../../shared/platform/linux/shortage.ts';

it('begins with the first who misses some, and ends with the last', () => {
  const cells = Shortage.cells(2);
  const [one, other] = [new Shortage(cells, 0), new Shortage(cells, 1)];
  expect([one.begin(), one.begin(), other.begin()]).toEqual([true, false, false]);
  expect([one.end(), other.end(), one.end()]).toEqual([false, false, true]);
  expect([other.begin(), other.end()]).toEqual([true, true]);
});

it('ends with a worker that dies in it, for the one that takes its place misses nothing', () => {
  const cells = Shortage.cells(2);
  const [dead, other] = [new Shortage(cells, 0), new Shortage(cells, 1)];
  dead.begin();
  new Shortage(cells, 0);
  expect([other.begin(), other.end()]).toEqual([true, true]);
});

it('goes on when others miss some', () => {
  const cells = Shortage.cells(2);
  const [dead, other] = [new Shortage(cells, 0), new Shortage(cells, 1)];
  dead.begin();
  other.begin();
  const next = new Shortage(cells, 0);
  expect(next.begin()).toBe(false);
  expect([next.end(), other.end()]).toEqual([false, true]);
});
