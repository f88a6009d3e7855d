import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PrivateDirectory } from '../../../shared/ports/private-directory.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'portferry-private-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A path of so many bytes in `directory`, some of them in two. */
function pathOf(bytes: number): string {
  const left = bytes - directory.length - 1;
  return join(directory, `${'ü'.repeat(4)}${'x'.repeat(left - 8)}`);
}

/** What a system without /proc/self/fd would bind for a path. */
async function nameFor(target: string): Promise<string> {
  const made = await PrivateDirectory.beside(target);
  try {
    const name = await made.socketName(false);
    const server = createServer().listen(name);
    await once(server, 'listening');
    await new Promise((resolve) => server.close(resolve));
    return name;
  } finally {
    await made.remove();
  }
}

it('without /proc/self/fd a directory of 88 bytes has room for a socket, and one of 89 is told what it may have', async () => {
  for (const bytes of [88, 89]) mkdirSync(pathOf(bytes));
  expect(Buffer.byteLength(await nameFor(join(pathOf(88), 'a.sock')))).toBe(103);
  const target = join(pathOf(89), 'a');
  await expect(nameFor(target)).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: `Bind for ${target} failed: the path of its directory has 89 bytes, of 88 that it may have here`,
  });
  expect([readdirSync(pathOf(88)), readdirSync(pathOf(89))]).toEqual([[], []]);
});

it('without /proc/self/fd a path of 103 bytes is the longest', async () => {
  await nameFor(pathOf(103));
  await expect(nameFor(pathOf(104))).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: `Bind for ${pathOf(104)} failed: the path has 104 bytes, of 103 that it may have`,
  });
  expect(readdirSync(directory)).toEqual([]);
});
