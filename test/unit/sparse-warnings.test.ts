import { expect, it } from 'vitest';
import { SparseWarnings } from '../../shared/sparse-warnings.ts';

it('ten lines a minute are warnings, the tenth says so, and the others are of level debug', () => {
  let now = 0;
  const lines: string[] = [];
  const say =
    (level: string) =>
    (fields: object, text: string): void => {
      lines.push(`${level} ${JSON.stringify(fields)} ${text}`);
    };
  const warnings = new SparseWarnings({ warn: say('warn'), debug: say('debug') }, () => now);
  for (let i = 0; i < 12; i++) warnings.warn({ i }, 'wrong');
  expect(lines[0]).toBe('warn {"i":0} wrong');
  expect(lines.map((line) => line.split(' ')[0])).toEqual([...Array(10).fill('warn'), 'debug', 'debug']);
  expect(lines[9]).toBe('warn {"i":9} wrong; more within a minute are lines of level debug');
  now = 59_999;
  warnings.warn({}, 'wrong');
  now = 60_000;
  warnings.warn({}, 'wrong');
  expect(lines.slice(12)).toEqual(['debug {} wrong', 'warn {} wrong']);
});
