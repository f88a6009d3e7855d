import { beforeEach, describe, expect, it } from 'vitest';
import { checkSystem } from '../../../vm-shim/mount/choose.ts';
import type { Machine } from '../../../vm-shim/mount/machine.ts';
import { mountPortFs } from '../../../vm-shim/mount/mount-port-fs.ts';

const SOCKET = '/run/portferry.sock';
const OK = { status: 0, said: '' };

let ran: string[];
let files: Record<string, string>;
let answers: Record<string, { status: number; said: string }>;
let uid: number;

beforeEach(() => {
  ran = [];
  files = {
    '/proc/self/mounts': 'proc /proc proc rw 0 0\n',
    '/proc/filesystems': 'nodev\tproc\nnodev\t9p\n',
  };
  answers = {};
  uid = 0;
});

const machine: Machine = {
  get uid() {
    return uid;
  },
  run: async (command, ...args) => {
    ran.push([command, ...args].join(' '));
    return answers[command] ?? OK;
  },
  read: async (path) => files[path] ?? '',
  makeDirectory: async (path) => {
    ran.push(`mkdir ${path}`);
  },
};
const mount = () => mountPortFs('/port', SOCKET, machine);

describe('mounting', () => {
  it('makes the directory, loads the modules and mounts without a cache', async () => {
    expect(await mount()).toBe('mounted');
    expect(ran).toEqual([
      'mkdir /port',
      'modprobe -a 9pnet_fd 9p',
      `mount -t 9p -o trans=unix,version=9p2000.L,cache=none,msize=65536,nosuid,nodev,noexec ${SOCKET} /port`,
    ]);
  });

  it('leaves a mount that works', async () => {
    files['/proc/self/mounts'] += `${SOCKET} /port 9p rw 0 0\n`;
    files['/port/README'] = 'text';
    expect(await mount()).toBe('already');
    expect(ran).toEqual([]);
  });

  it('replaces a mount whose server is gone', async () => {
    files['/proc/self/mounts'] += `${SOCKET} /port 9p rw 0 0\n`;
    expect(await mount()).toBe('mounted');
    expect(ran[0]).toBe('umount -l /port');
  });

  it('looks at the topmost mount of a path, which may have blanks', async () => {
    files['/proc/self/mounts'] = 'a /my\\040port 9p rw 0 0\nb /my\\040port tmpfs rw 0 0\n';
    await mountPortFs('/my port', SOCKET, machine);
    expect(ran[0]).toBe('mkdir /my port');
    files['/proc/self/mounts'] += 'c /my\\040port 9p rw 0 0\n';
    ran = [];
    await mountPortFs('/my port', SOCKET, machine);
    expect(ran[0]).toBe('umount -l /my port');
  });

  it('without root says how to be it, and tries nothing', async () => {
    uid = 1000;
    await expect(mount()).rejects.toMatchObject({ code: 'PERMISSION_DENIED', message: /sudo/ });
    expect(ran).toEqual([]);
  });

  it('on a kernel without a 9P client says which modules are missing, and why', async () => {
    files['/proc/filesystems'] = 'nodev\tproc\n';
    answers = {
      modprobe: { status: 1, said: 'modprobe: FATAL: Module 9pnet_fd not found' },
      mount: { status: 32, said: "mount: unknown filesystem type '9p'." },
    };
    await expect(mount()).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: /modprobe 9pnet_fd 9p failed \(modprobe: FATAL: Module 9pnet_fd not found\)/,
    });
  });

  it.each([
    [32, 'mount: /port: permission denied.'],
    [-1, 'mount is not installed'],
  ])('with status %d of mount(8) says what it said', async (status, said) => {
    answers = { mount: { status, said } };
    await expect(mount()).rejects.toMatchObject({
      code: 'IO',
      message: `cannot mount ${SOCKET} at /port: ${said}`,
    });
  });
});

it('is for Linux', () => {
  checkSystem('linux');
  expect(() => checkSystem('darwin')).toThrow(/only Linux can mount the control filesystem, this is darwin/);
});
