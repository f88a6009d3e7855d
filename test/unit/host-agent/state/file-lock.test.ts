import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lockFile, lockName } from '../../../../host-agent/control/state/file-lock.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

it('is held by one, who is named to others, until it is given back', async () => {
  const path = join(dir, 'state');
  const unlock = await lockFile(path);
  await expect(lockFile(path)).rejects.toMatchObject({
    code: 'STATE_IN_USE',
    message: expect.stringContaining(`a host agent with process id ${process.pid} uses it`),
  });
  await unlock();
  expect(readdirSync(dir)).toEqual([]);
  await (await lockFile(path))();
});

it('is beside the file, and on Windows a pipe of its own for each file, however the name is written', () => {
  expect(lockName('/var/lib/forwards', false)).toBe('/var/lib/forwards.lock');
  const pipe = lockName('C:\\Users\\me\\forwards', true);
  expect(pipe).toMatch(/^\\\\\.\\pipe\\portferry-state-[0-9a-f]{32}$/);
  expect(lockName('c:\\users\\ME\\forwards', true)).toBe(pipe);
  expect(lockName('C:\\Users\\me\\others', true)).not.toBe(pipe);
});
