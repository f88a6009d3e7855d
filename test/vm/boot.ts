/** Boots a guest under QEMU's software emulation and passes on what it says. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Image } from './image.ts';
import { ALIVE, ENDED, STARTED } from './inits.ts';
import { pathOf } from './tools.ts';

/** How long a guest that is alive may say nothing, also while it boots or is saved, milliseconds. */
const SILENT_MS = 120_000;

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
  /** Called when it was given up, before it is ended. */
  readonly onStill?: () => Promise<void>;
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
  /** Whether it was given up. */
  readonly stoodStill: () => boolean;
  /** Ends it because it does nothing more. It gives itself up when it says nothing for long. */
  giveUp(why: string): void;
  stop(): void;
}

/** Runs the payload's command. */
export function bootGuest(options: GuestOptions): Guest {
  const { image, payload, work, timeoutMs, onLine, onStill, ports = [], reboots = false } = options;
  const { disk, monitor, restore } = options;
  const kernelOptions =
    'console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on mitigations=off tsc=reliable no_timer_check';
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
    ...['-device', 'virtio-rng-pci'], // or the first program that wants random bytes waits for them
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
  let heard = performance.now();
  let still = false;
  const giveUp = (why: string): void => {
    if (still) return;
    still = true;
    console.log(`the guest stands still: ${why}`);
    Promise.resolve(onStill?.()).finally(stop);
  };
  const watch = setInterval(() => {
    if (performance.now() - heard > SILENT_MS) giveUp(`it has said nothing for ${SILENT_MS / 1000} s`);
  }, 1_000);
  process.once('exit', stop);
  const ended = new Promise<GuestRun>((resolve, reject) => {
    const said: string[] = [];
    let started = false;
    let status: number | undefined;
    createInterface({ input: child.stdout }).on('line', (raw) => {
      const line = raw.replace(/\r/g, '');
      heard = performance.now();
      if (line === ALIVE) return;
      said.push(line);
      if (line === STARTED) started = true;
      else if (line.startsWith(ENDED)) status = Number(line.slice(ENDED.length));
      else if (started && status === undefined && line !== '') onLine(line);
    });
    createInterface({ input: child.stderr }).on('line', (line) => said.push(`qemu: ${line}`));
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      clearInterval(watch);
      process.off('exit', stop);
      resolve({ status, console: said });
    });
  });
  return { ended, stoodStill: () => still, giveUp, stop };
}
