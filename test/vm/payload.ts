/** What goes into the guest: the built program and tests, and the packages that it needs to run. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './tools.ts';

interface Lock {
  readonly packages: Record<string, { readonly dev?: boolean }>;
}

/**
 * Writes a tar.
 * @param root of the project
 * @param command what the guest runs, in the project's folder
 */
export function writePayload(root: string, work: string, command: string, out: string): void {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;
  // Optional packages are for one system each: what npm has not installed is not for this one.
  const needed = Object.entries(packages)
    .filter(([path, { dev }]) => path !== '' && dev !== true && existsSync(join(root, path)))
    .map(([path]) => path);
  writeFileSync(join(work, 'run.sh'), `${command}\n`);
  const owner = ['--owner=0', '--group=0', '--exclude=*.map', '--exclude=*.tsbuildinfo'];
  run('tar', [
    'cf',
    out,
    ...owner,
    '-C',
    work,
    'run.sh',
    '-C',
    root,
    'package.json',
    'dist',
    'vm-shim/bin',
    ...needed,
  ]);
}
