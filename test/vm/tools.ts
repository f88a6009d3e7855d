/** What a guest is built and run with: Debian's programs, by the package that has each. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const PACKAGES: Record<string, string> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  busybox: 'busybox-static',
  dash: 'dash',
  cpio: 'cpio',
  'mkfs.ext4': 'e2fsprogs',
  depmod: 'kmod',
  modprobe: 'kmod',
  'dpkg-deb': 'dpkg',
  'apt-get': 'apt',
  tar: 'tar',
  ldd: 'libc-bin',
};

/** Debian has some of them where only root looks. */
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

/** What is missing, as people are told; undefined when nothing is. */
export function whatIsMissing(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `the guest is built from Debian packages for x86-64 on Debian; this is ${process.platform} on ${process.arch}`;
  const missing = Object.keys(PACKAGES).filter((name) => pathOf(name) === undefined);
  if (missing.length > 0) {
    const packages = [...new Set(missing.map((name) => PACKAGES[name]!))];
    return `${missing.join(', ')} missing: apt-get install --no-install-recommends ${packages.join(' ')}`;
  }
  if (!/not a dynamic executable|statically linked/.test(tryRun('ldd', [pathOf('busybox')!])))
    return 'busybox is not the static one: apt-get install --no-install-recommends busybox-static';
  return undefined;
}

/** Where a program is. */
export function pathOf(name: string): string | undefined {
  return PATH.split(':')
    .map((folder) => `${folder}/${name}`)
    .find((path) => existsSync(path));
}

/** Runs a program to its end and answers its stdout. @throws with its stderr when it fails */
export function run(name: string, args: readonly string[], cwd?: string): string {
  const { status, stdout, stderr, error } = spawn(name, args, cwd);
  if (status !== 0) throw new Error(`${name} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
  return stdout;
}

/** What a program says, whether it fails or not. */
function tryRun(name: string, args: readonly string[]): string {
  const { stdout, stderr } = spawn(name, args);
  return stdout + stderr;
}

function spawn(name: string, args: readonly string[], cwd?: string) {
  const env = { ...process.env, PATH, LC_ALL: 'C' };
  return spawnSync(name, args, {
    encoding: 'utf8',
    env,
    maxBuffer: 64 * 1024 * 1024,
    ...(cwd !== undefined && { cwd }),
  });
}
