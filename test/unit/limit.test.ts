import { expect, it } from 'vitest';
import { Limit } from '../../shared/limit.ts';
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
