import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { connectionLimit } from '../../shared/descriptors.ts';
import type { Logger } from '../../shared/logger.ts';

describe.skipIf(process.platform === 'win32')('connectionLimit', () => {
  const soft = Number(
    execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).replace('unlimited', 'NaN'),
  );

  it('is what was wanted while the descriptors suffice', () => {
    expect(connectionLimit(16, 2, {} as Logger)).toBe(16);
  });

  it.skipIf(Number.isNaN(soft))('is what the descriptors allow otherwise, and says so', () => {
    const lines: string[] = [];
    const log = { info: (_fields: object, line: string) => lines.push(line) } as unknown as Logger;
    const able = connectionLimit(1_000_000_000, 2, log);
    expect(able).toBeLessThanOrEqual(Math.max(16, soft / 2));
    expect(lines).toEqual([expect.stringMatching(/raise it with ulimit -n/)]);
  });
});
