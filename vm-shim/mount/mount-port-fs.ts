/** Mounts the control filesystem with the kernel's 9P client, by mount(8). */
import { BridgeError } from '../../shared/errors.ts';
import type { Machine } from './machine.ts';

/** cache=none: every read asks the server. The server's answers fit into far less than this msize. */
const OPTIONS = 'trans=unix,version=9p2000.L,cache=none,msize=65536,nosuid,nodev,noexec';
const MODULES = ['9pnet_fd', '9p'];

/**
 * Mounts what is served at a unix socket. A mount that is there and works is left; one whose server is gone is replaced.
 * @param point absolute path; made when it is missing
 * @param socket path of the unix socket; somebody listens there
 * @returns whether it was mounted now, or already
 * @throws BridgeError PERMISSION_DENIED when not root; UNSUPPORTED when the kernel has no 9P client; IO
 */
export async function mountPortFs(
  point: string,
  socket: string,
  machine: Machine,
): Promise<'mounted' | 'already'> {
  if (machine.uid !== 0)
    throw new BridgeError('PERMISSION_DENIED', `mounting ${point} takes root: run it with sudo`);
  if (isMounted(await machine.read('/proc/self/mounts'), point)) {
    if ((await machine.read(`${point}/README`)) !== '') return 'already';
    await machine.run('umount', '-l', point);
  }
  try {
    await machine.makeDirectory(point);
  } catch (error) {
    throw new BridgeError('IO', `cannot make the directory ${point}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  // Kernels before 5.17 load 9p by themselves, but not what carries it.
  const modprobe = await machine.run('modprobe', '-a', ...MODULES);
  const mount = await machine.run('mount', '-t', '9p', '-o', OPTIONS, socket, point);
  if (mount.status === 0) return 'mounted';
  if (mount.status !== -1 && !/\b9p$/m.test(await machine.read('/proc/filesystems')))
    throw new BridgeError(
      'UNSUPPORTED',
      `this kernel has no 9P client: modprobe ${MODULES.join(' ')} failed (${modprobe.said || 'no reason given'}). ` +
        "Kernels made for clouds lack it, a distribution's generic kernel has it; portferry claim --control needs none",
    );
  throw new BridgeError('IO', `cannot mount ${socket} at ${point}: ${mount.said}`);
}

/** Whether the topmost mount at that path is a 9P one (proc_mounts(5): fields by blanks, which are octal in names). */
function isMounted(mounts: string, point: string): boolean {
  const wanted = point.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  const types = mounts.split('\n').map((line) => line.split(' '));
  return types.findLast(([, target]) => target === wanted)?.[2] === '9p';
}
