/** test/bootstrap.mjs in a folder with a space in its name, on Linux and macOS, and with what Windows does simulated. */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const BOOTSTRAP = fileURLToPath(new URL('../bootstrap.mjs', import.meta.url));
const AS_WINDOWS = "data:text/javascript,Object.defineProperty(process, 'platform', { value: 'win32' })";
/** What cmd.exe does with `/d /s /c "COMMAND"`: the outer quotes go, and what is between them is read as it stands. */
const CMD = '#!/bin/sh\neval "exec /bin/sh -c $4"\n';

let dir: string;
let root: string;
const file = (name: string, text: string): void => writeFileSync(join(root, name), text);
const program = (name: string, text: string): void => {
  file(name, text);
  chmodSync(join(root, name), 0o755);
};

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  root = join(dir, 'a clone');
  for (const name of ['test', 'bin', 'node_modules/typescript/bin'])
    mkdirSync(join(root, name), { recursive: true });
  copyFileSync(BOOTSTRAP, join(root, 'test/bootstrap.mjs'));
  file('package-lock.json', '{}');
  file(
    'node_modules/typescript/bin/tsc',
    "require('node:fs').writeFileSync('built', process.argv.slice(2).join(' '));",
  );
  program('bin/npm', '#!/bin/sh\necho "$@" > installed\n');
  program('bin/cmd', CMD);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function bootstrap(...preload: string[]): Promise<void> {
  const env = { PATH: `${join(root, 'bin')}:/usr/bin:/bin`, comspec: 'cmd' };
  await promisify(execFile)(process.execPath, [...preload, join(root, 'test/bootstrap.mjs')], { env });
}

describe.skipIf(process.platform === 'win32')('the bootstrap', () => {
  it.each([
    ['here', []],
    ['where npm is a batch file', ['--import', AS_WINDOWS]],
  ])('installs once, and builds each time: %s', async (_where, preload) => {
    await bootstrap(...preload);
    expect(readFileSync(join(root, 'installed'), 'utf8')).toBe('ci --ignore-scripts --no-audit --no-fund\n');
    expect(readFileSync(join(root, 'built'), 'utf8')).toBe('-p tsconfig.json');
    for (const name of ['installed', 'built']) rmSync(join(root, name));
    await bootstrap(...preload);
    expect(existsSync(join(root, 'installed'))).toBe(false);
    expect(existsSync(join(root, 'built'))).toBe(true);
  });
});
