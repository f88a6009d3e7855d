import { expect, it } from 'vitest';
import { giveAll, Limit, limitCells, takeAll } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';

it('a limit counts, refuses past its maximum, and is logged once until use has halved', () => {
  const lines: string[] = [];
  const log = { warn: (_fields: object, line: string) => lines.push(line) } as unknown as Logger;
  const limit = new Limit('things', 4, log);
  expect([1, 2, 3, 4, 5, 6].map(() => limit.take())).toEqual([true, true, true, true, false, false]);
  expect([limit.used, limit.refused]).toEqual([4, 2]);
  expect(lines).toEqual(['limit reached: things (4)']);
  limit.give();
  expect(limit.take()).toBe(true);
  expect(limit.take()).toBe(false);
  expect(lines.length).toBe(1);
  limit.give();
  limit.give();
  limit.take();
  limit.take();
  expect(limit.take()).toBe(false);
  expect(lines.length).toBe(2);
  expect(limit.refused).toBe(4);
});

it('several limits are taken together or not at all, and the one that refuses counts it', () => {
  const [narrow, wide] = [new Limit('narrow', 2), new Limit('wide', 3)];
  const both = [narrow, wide];
  expect([takeAll([wide]), takeAll(both), takeAll(both), takeAll(both), takeAll([narrow])]).toEqual([
    true,
    true,
    true,
    false,
    false,
  ]);
  expect([narrow.used, wide.used, narrow.refused, wide.refused]).toEqual([2, 3, 2, 0]);
  giveAll(both);
  wide.take();
  expect(takeAll(both)).toBe(false);
  expect([narrow.used, wide.used, wide.refused]).toEqual([1, 3, 1]);
  giveAll([wide], 3);
  expect(wide.used).toBe(0);
});

it('several are taken at once or none, and a smaller number may still fit', () => {
  const limit = new Limit('ports', 10);
  expect([limit.take(6), limit.take(5), limit.take(4), limit.take(0), limit.take()]).toEqual([
    true,
    false,
    true,
    true,
    false,
  ]);
  expect([limit.used, limit.refused]).toEqual([10, 2]);
});

it('threads that share a limit log it once', () => {
  const lines: string[] = [];
  const log = { warn: (_fields: object, line: string) => lines.push(line) } as unknown as Logger;
  const mine = new Limit('shared', 1, log, limitCells());
  const theirs = Limit.of(structuredClone(mine.share), log); // what a thread gets shares the memory
  expect([mine.take(), theirs.take(), mine.take()]).toEqual([true, false, false]);
  expect([theirs.used, mine.refused]).toEqual([1, 2]);
  expect(lines).toEqual(['limit reached: shared (1)']);
});

it('another maximum holds for all threads, and ends nobody', () => {
  const mine = new Limit('shared', 2, undefined, limitCells());
  const theirs = Limit.of(structuredClone(mine.share), { warn() {} });
  expect([mine.take(), theirs.take()]).toEqual([true, true]);
  mine.max = 1;
  expect([theirs.max, theirs.used, theirs.take()]).toEqual([1, 2, false]);
  mine.give();
  expect(theirs.take()).toBe(false);
  mine.max = 3;
  expect(theirs.take()).toBe(true);
});
