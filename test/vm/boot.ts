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
}

/** Runs the payload's command. Resolves when the guest is no more. */
export function bootGuest(options: GuestOptions): Promise<GuestRun> {
  const { image, payload, work, timeoutMs, onLine } = options;
  const kernelOptions =
    'console=ttyS0 quiet loglevel=3 panic=-1 random.trust_cpu=on mitigations=off tsc=reliable no_timer_check';
  // A processor without AVX is emulated faster.
  const args = [
    ...['-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'Nehalem', '-smp', '2', '-m', '1536'],
    ...[
      '-display',
      'none',
      '-no-reboot',
      '-monitor',
      'none',
      '-serial',
      'stdio',
      '-nic',
      'none',
      '-vga',
      'none',
    ],
    ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', kernelOptions],
    ...['-drive', `file=${image.root},if=virtio,format=raw,snapshot=on`],
    ...['-drive', `file=${payload},if=virtio,format=raw,readonly=on`],
  ];
  const child = spawn(pathOf('qemu-system-x86_64')!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: work }, // the overlay of snapshot=on
  });
  const stop = (): void => void child.kill('SIGKILL');
  const timer = setTimeout(stop, timeoutMs);
  process.once('exit', stop);
  return new Promise((resolve, reject) => {
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
}
