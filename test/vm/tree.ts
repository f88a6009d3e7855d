/** Puts files of this machine, or of unpacked packages, into a root file system that is being made. */
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run } from './tools.ts';

/** Where a library goes that is not this machine's own. */
export const LIBRARIES = '/usr/lib/x86_64-linux-gnu';

/**
 * Copies a program and the shared libraries that it names, each to its own path.
 * @param packages root of unpacked packages, whose libraries come before this machine's
 */
export function copyProgram(tree: string, from: string, to: string, packages?: string): void {
  copyFile(from, tree + to);
  const search = packages === undefined ? [] : [packages + LIBRARIES, `${packages}/lib/x86_64-linux-gnu`];
  const named = run('env', [`LD_LIBRARY_PATH=${search.join(':')}`, 'ldd', from]);
  const lacking = /^\s*(\S+) => not found/m.exec(named)?.[1];
  if (lacking !== undefined) throw new Error(`${from} needs ${lacking}, which this machine has not`);
  for (const [library] of named.matchAll(/\/[^ \n)]+/g)) {
    const ours = packages === undefined || !library.startsWith(packages);
    copyFile(library, join(tree, ours ? library : join(LIBRARIES, basename(library))));
  }
}

export function copyFile(from: string, to: string): void {
  if (existsSync(to)) return;
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { dereference: true });
}
