/** Debian packages that are downloaded and unpacked, not installed. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './tools.ts';

/** dockerd, and those of its libraries that a Debian need not have. */
const DOCKER =
  'docker.io containerd runc iptables libdevmapper1.02.1 libseccomp2 libnftnl11 libmnl0 libxtables12'.split(
    ' ',
  );

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

/** The name of the folder that `unpackDocker` makes: another one for other versions. */
export function dockerFolder(): string {
  const versions = run('apt-cache', ['policy', ...DOCKER]).match(/^\S.*:$|^ *Candidate: .*$/gm) ?? [];
  return `docker-${createHash('sha256').update(versions.join('\n')).digest('hex').slice(0, 16)}`;
}

/** @returns the folder where all of docker's packages are unpacked */
export function unpackDocker(cache: string): string {
  const name = dockerFolder();
  for (const old of readdirSync(cache))
    if (old.startsWith('docker-') && old !== name) rmSync(join(cache, old), { recursive: true, force: true });
  const folder = join(cache, name);
  unpack(folder, DOCKER, () => {});
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
