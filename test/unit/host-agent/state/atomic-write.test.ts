/** What Windows does is simulated: it has been run nowhere else. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FileSystem, writeAtomically } from '../../../../host-agent/control/state/atomic-write.ts';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  path = join(dir, 'state');
  writeFileSync(path, 'old');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const errno = (code: string): Error => Object.assign(new Error(`${code}: said the system`), { code });

/** Files sync, and directories open, but do not sync. */
function directoriesFailWith(code: string): FileSystem['open'] {
  return async (name, ...how) => {
    const file: FileHandle = await open(name, ...how);
    if (statSync(name as string).isDirectory()) file.sync = () => Promise.reject(errno(code));
    return file;
  };
}

/** Fails so often before it does what it should. */
function renameDenied(times: number, code: string): FileSystem['rename'] & { calls: number } {
  const denied = async (from: string, to: string): Promise<void> => {
    denied.calls++;
    if (denied.calls <= times) throw errno(code);
    await rename(from, to);
  };
  denied.calls = 0;
  return denied as FileSystem['rename'] & { calls: number };
}

const write = (system: Partial<FileSystem>): Promise<void> =>
  writeAtomically(path, Buffer.from('new'), { windows: true, open, rename, ...system });

/** What is there, and that nothing else is. */
function content(): string {
  expect(readdirSync(dir)).toEqual(['state']);
  return readFileSync(path, 'utf8');
}

describe('writeAtomically', () => {
  it('has written the file where a directory opens and does not sync, as on Windows', async () => {
    await write({ open: directoriesFailWith('EPERM') });
    expect(content()).toBe('new');
  });

  it('tells when the directory was not written for another reason', async () => {
    await expect(write({ open: directoriesFailWith('EIO') })).rejects.toMatchObject({ code: 'EIO' });
  });

  it.each(['EPERM', 'EACCES', 'EBUSY'])(
    'tries again while Windows answers %s to the rename',
    async (code) => {
      await write({ rename: renameDenied(3, code) });
      expect(content()).toBe('new');
    },
  );

  it('gives up after a while, and has the old content then', async () => {
    const denied = renameDenied(Number.POSITIVE_INFINITY, 'EPERM');
    await expect(write({ rename: denied })).rejects.toMatchObject({ code: 'EPERM' });
    expect(denied.calls).toBeGreaterThan(1);
    expect(content()).toBe('old');
  });

  it.each([
    ['elsewhere', false, 'EPERM'],
    ['for another reason', true, 'ENOSPC'],
  ])('tells a denied rename at once %s', async (_what, windows, code) => {
    const denied = renameDenied(1, code);
    await expect(write({ windows, rename: denied })).rejects.toMatchObject({ code });
    expect(denied.calls).toBe(1);
    expect(content()).toBe('old');
  });
});
