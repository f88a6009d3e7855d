/** Boots a guest under QEMU's software emulation and passes on what it says. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Image } from './image.ts';
import { ENDED, STARTED } from './inits.ts';
import { pathOf } from './tools.ts';

export interface GuestRun {
  /** Of the command; undefined when the guest ended without a word, or was ended. */
  readonly status: number | undefined;
  /** Everything on its console. */
  readonly console: readonly string[];
}

export interface GuestOptions {
  readonly image: Image;
  /** A tar. */
  readonly payload: string;
  /** For QEMU's temporary files. */
  readonly work: string;
  readonly timeoutMs: number;
  /** Called with each line that the command says. */
  readonly onLine: (line: string) => void;
  /** Its virtio-serial ports. */
  readonly ports?: readonly SerialPort[];
  /** It starts again when it reboots, instead of ending. */
  readonly reboots?: boolean;
  /** An overlay of the image's root, to be the disk; without one what is written is forgotten. */
  readonly disk?: string;
  /** The path where QEMU makes the socket of its monitor. */
  readonly monitor?: string;
  /** Goes on with what was saved in the disk under this name, instead of booting. */
  readonly restore?: string;
}

export interface SerialPort {
  /** In the guest, of the virtserialport. */
  readonly name: string;
  /** The path where QEMU makes the socket of the chardev. */
  readonly socket: string;
}

export interface Guest {
  /** Resolves when the guest is no more. */
  readonly ended: Promise<GuestRun>;
  stop(): void;
}

/** Runs the payload's command. */
export function bootGuest(options: GuestOptions): Guest {
  const { image, payload, work, timeoutMs, onLine, ports = [], reboots = false } = options;
  const { disk, monitor, restore } = options;
  const kernelOptions =
    'console=ttyS0 quiet loglevel=3 panic=-1 random.trust_cpu=on mitigations=off tsc=reliable no_timer_check';
  // A processor without AVX is emulated faster.
  const args = [
    ...['-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'Nehalem', '-smp', '2', '-m', '1536'],
    ...'-display none -monitor none -serial stdio -nic none -vga none'.split(' '),
    ...(reboots ? [] : ['-no-reboot']),
    ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', kernelOptions],
    '-drive',
    disk === undefined
      ? `file=${image.root},if=virtio,format=raw,snapshot=on`
      : `file=${disk},if=virtio,format=qcow2,cache=unsafe`,
    ...['-drive', `file=${payload},if=virtio,format=raw,readonly=on`],
    ...(monitor === undefined ? [] : ['-qmp', `unix:${monitor},server=on,wait=off`]),
    ...(restore === undefined ? [] : ['-loadvm', restore]),
    ...(ports.length === 0 ? [] : ['-device', 'virtio-serial']),
    ...ports.flatMap(({ name, socket }, index) => [
      ...['-chardev', `socket,path=${socket},server=on,wait=off,id=c${index}`],
      ...['-device', `virtserialport,chardev=c${index},name=${name}`],
    ]),
  ];
  const child = spawn(pathOf('qemu-system-x86_64')!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: work }, // the overlay of snapshot=on
  });
  const stop = (): void => void child.kill('SIGKILL');
  const timer = setTimeout(stop, timeoutMs);
  process.once('exit', stop);
  const ended = new Promise<GuestRun>((resolve, reject) => {
    const console: string[] = [];
    let started = false;
    let status: number | undefined;
    createInterface({ input: child.stdout }).on('line', (raw) => {
      const line = raw.replace(/\r/g, '');
      console.push(line);
      if (line === STARTED) started = true;
      else if (line.startsWith(ENDED)) status = Number(line.slice(ENDED.length));
      else if (started && status === undefined && line !== '') onLine(line);
    });
    createInterface({ input: child.stderr }).on('line', (line) => console.push(`qemu: ${line}`));
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      process.off('exit', stop);
      resolve({ status, console });
    });
  });
  return { ended, stop };
}
