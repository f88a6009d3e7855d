/**
 * The guest: Debian's generic kernel, busybox, dash, dockerd, podman and the node that runs this. Nothing is installed on this
 * machine: packages are downloaded and unpacked. What was built is kept, under a name that says of what.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { GUEST_INIT, INITRD_INIT } from './inits.ts';
import { newestKernelPackage, runtimesFolder, unpackKernel, unpackRuntimes } from './packages.ts';
import { pathOf, run } from './tools.ts';
import { copyFile, copyProgram, LIBRARIES } from './tree.ts';

export interface Image {
  readonly kernel: string;
  readonly initrd: string;
  /** An ext4 file system, to be booted from a copy-on-write overlay. */
  readonly root: string;
}

/** Modules that the root file system needs. */
const BOOT_MODULES = ['virtio_pci', 'virtio_blk', 'ext4', 'crc32c_generic'];
/** Modules that groups of cases load. */
const CASE_MODULES = [
  'vsock',
  'vsock_loopback',
  'virtio_console',
  'virtio_rng',
  'af_packet',
  '9p',
  '9pnet_fd',
];

const RUNTIME_MODULES = [
  ...['veth', 'bridge', 'br_netfilter', 'overlay', 'nf_nat', 'nf_conntrack', 'nf_conntrack_netlink'],
  ...['nf_tables', 'nft_compat', 'nft_chain_nat', 'nft_ct', 'nft_masq', 'nft_nat'],
  ...['xt_addrtype', 'xt_MASQUERADE', 'xt_conntrack', 'xt_nat', 'xt_tcpudp', 'xt_mark', 'xt_comment'],
];
const RUNTIME_PROGRAMS = [
  ...['/usr/sbin/dockerd', '/usr/bin/docker', '/usr/bin/containerd', '/usr/bin/containerd-shim-runc-v2'],
  ...['/usr/sbin/runc', '/usr/sbin/xtables-nft-multi'],
  ...['/usr/bin/podman', '/usr/bin/conmon', '/usr/lib/podman/netavark'],
];
const MODULES = [...BOOT_MODULES, ...CASE_MODULES, ...RUNTIME_MODULES];

/** @param cache folder to keep what is built in */
export function buildImage(cache: string, say: (text: string) => void): Image {
  mkdirSync(cache, { recursive: true });
  const kernelPackage = newestKernelPackage();
  const node = realpathSync(process.execPath);
  const made = [kernelPackage, process.version, `${statSync(node).mtimeMs}`, pathOf('busybox')!];
  const recipe = [
    ...made,
    runtimesFolder(),
    ...MODULES,
    ...RUNTIME_PROGRAMS,
    INITRD_INIT,
    GUEST_INIT,
    LAYOUT,
  ];
  const name = createHash('sha256').update(recipe.join('\n')).digest('hex').slice(0, 16);
  const folder = join(cache, `guest-${name}`);
  const image = {
    kernel: join(folder, 'vmlinuz'),
    initrd: join(folder, 'initrd.img'),
    root: join(folder, 'root.ext4'),
  };
  if (existsSync(folder)) return image;
  for (const old of readdirSync(cache))
    if (old.startsWith('guest-')) rmSync(join(cache, old), { recursive: true, force: true });
  const work = mkdtempSync(join(cache, 'building-'));
  try {
    say(`building the guest (${kernelPackage}, node ${process.version}) ...`);
    const kernel = unpackKernel(cache, kernelPackage);
    const version = kernelPackage.slice('linux-image-'.length);
    const out = join(work, 'out');
    mkdirSync(out);
    cpSync(join(kernel, `boot/vmlinuz-${version}`), join(out, 'vmlinuz'));
    makeInitrd(join(work, 'initrd'), kernel, version, join(out, 'initrd.img'));
    makeRoot(join(work, 'root'), kernel, version, unpackRuntimes(cache), join(out, 'root.ext4'));
    renameSync(out, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return image;
}

/** To be changed whenever what is laid out below changes. */
const LAYOUT = '5';

/** Files of modules and of what they depend on, in the order in which they load, by path from the root. */
function moduleFiles(kernel: string, version: string, modules: readonly string[]): string[] {
  const files = modules.flatMap((name) =>
    run('modprobe', ['-d', kernel, '-S', version, '--show-depends', name])
      .split('\n')
      .filter((line) => line.startsWith('insmod '))
      .map((line) => line.split(' ')[1]!.slice(kernel.length)),
  );
  return [...new Set(files)];
}

/** Mounts the root file system and goes there: a container runtime needs a root that is no initramfs. */
function makeInitrd(tree: string, kernel: string, version: string, out: string): void {
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'root', 'modules'])
    mkdirSync(join(tree, folder), { recursive: true });
  cpSync(pathOf('busybox')!, join(tree, 'bin/busybox'), { dereference: true });
  const names = moduleFiles(kernel, version, BOOT_MODULES).map((file, index) => {
    const name = `${String(index).padStart(2, '0')}.ko`;
    cpSync(kernel + file, join(tree, 'modules', name));
    return name;
  });
  writeFileSync(join(tree, 'modules/order'), `${names.join('\n')}\n`);
  writeFileSync(join(tree, 'init'), INITRD_INIT);
  chmodSync(join(tree, 'init'), 0o755);
  run('sh', ['-c', `find . | cpio --quiet -o -H newc -R 0:0 > "$1"`, 'sh', out], tree);
}

function makeRoot(tree: string, kernel: string, version: string, runtimes: string, out: string): void {
  for (const folder of 'bin sbin dev proc sys tmp run etc root payload mnt var/lib var/run usr/bin usr/sbin lib64'.split(
    ' ',
  ))
    mkdirSync(join(tree, folder), { recursive: true });
  cpSync(pathOf('busybox')!, join(tree, 'bin/busybox'), { dereference: true });
  for (const applet of run('busybox', ['--list']).trim().split('\n'))
    if (applet !== 'busybox') symlinkSync('/bin/busybox', join(tree, 'bin', applet));
  symlinkSync('/bin/busybox', join(tree, 'sbin/modprobe'));
  copyProgram(tree, realpathSync(process.execPath), '/usr/bin/node');
  copyProgram(tree, pathOf('dash')!, '/bin/dash');
  copyRuntimes(tree, runtimes);
  for (const file of moduleFiles(kernel, version, MODULES)) copyFile(kernel + file, tree + file);
  const lists = `/lib/modules/${version}`;
  for (const list of ['modules.order', 'modules.builtin', 'modules.builtin.modinfo'])
    copyFile(join(kernel, lists, list), join(tree, lists, list));
  run('depmod', ['-b', tree, version]);
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(tree, 'etc/group'), 'root:x:0:\n');
  writeFileSync(join(tree, 'etc/hosts'), '127.0.0.1 localhost\n::1 localhost\n');
  writeFileSync(join(tree, 'etc/protocols'), 'tcp 6 TCP\nudp 17 UDP\n');
  writeFileSync(join(tree, 'sbin/init'), GUEST_INIT);
  chmodSync(join(tree, 'sbin/init'), 0o755);
  const megabytes = Math.ceil(Number(run('du', ['-sm', tree]).split('\t')[0]) * 1.2) + 256;
  const features = '^has_journal,^metadata_csum';
  const extended = 'root_owner=0:0,lazy_itable_init=1';
  run('mkfs.ext4', ['-q', '-F', '-O', features, '-E', extended, '-m', '0', '-d', tree, out, `${megabytes}M`]);
}

/** dockerd, podman and what they run. */
function copyRuntimes(tree: string, packages: string): void {
  for (const program of RUNTIME_PROGRAMS) copyProgram(tree, packages + program, program, packages);
  for (const name of ['iptables', 'ip6tables'])
    symlinkSync('xtables-nft-multi', join(tree, 'usr/sbin', name));
  const extensions = `${LIBRARIES}/xtables`;
  cpSync(packages + extensions, tree + extensions, { recursive: true, dereference: true });
}
