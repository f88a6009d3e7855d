/** Debian packages that are downloaded and unpacked, not installed. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './tools.ts';

/** dockerd and podman, and those of their libraries that a Debian need not have. */
const RUNTIMES = [
  ...'docker.io containerd runc iptables podman conmon netavark'.split(' '),
  ...'libdevmapper1.02.1 libseccomp2 libnftnl11 libmnl0 libxtables12'.split(' '),
  ...'libgpgme11 libassuan0 libsubid4 libsemanage2 libglib2.0-0 libpcre2-8-0'.split(' '),
];

/** The newest kernel. Those whose name ends in -cloud have no 9P. */
export function newestKernelPackage(): string {
  const listed = run('apt-cache', ['depends', 'linux-image-amd64']);
  const name = /^ *Depends: (linux-image-\d\S*)$/m.exec(listed)?.[1];
  if (name === undefined) throw new Error('apt knows no linux-image-amd64: apt-get update');
  return name;
}

/** @returns the folder of the unpacked package, with its modules listed */
export function unpackKernel(cache: string, name: string): string {
  const folder = join(cache, name);
  unpack(folder, [name], () => run('depmod', ['-b', folder, name.slice('linux-image-'.length)]));
  return folder;
}

/** The name of the folder that `unpackRuntimes` makes: another one for other versions. */
export function runtimesFolder(): string {
  const versions = run('apt-cache', ['policy', ...RUNTIMES]).match(/^\S.*:$|^ *Candidate: .*$/gm) ?? [];
  return `runtimes-${createHash('sha256').update(versions.join('\n')).digest('hex').slice(0, 16)}`;
}

/** @returns the folder where all packages of dockerd and podman are unpacked */
export function unpackRuntimes(cache: string): string {
  const name = runtimesFolder();
  for (const old of readdirSync(cache))
    if (/^(?:docker|runtimes)-/.test(old) && old !== name)
      rmSync(join(cache, old), { recursive: true, force: true });
  const folder = join(cache, name);
  unpack(folder, RUNTIMES, () => {});
  return folder;
}

/** Once only: what is there is left. */
function unpack(folder: string, names: readonly string[], then: () => void): void {
  if (existsSync(join(folder, '.done'))) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  try {
    run('apt-get', ['-qq', '-o', 'APT::Sandbox::User=root', 'download', ...names], folder);
  } catch (error) {
    throw new Error(`${(error as Error).message.trim()} (is apt-get update needed?)`);
  }
  for (const archive of readdirSync(folder).filter((each) => each.endsWith('.deb'))) {
    run('dpkg-deb', ['-x', archive, '.'], folder);
    rmSync(join(folder, archive));
  }
  then();
  writeFileSync(join(folder, '.done'), '');
}
