/** A pseudo-terminal in raw mode, as a stand-in for a serial port; Linux, and koffi has to load. */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import koffi from 'koffi';

/** asm-generic/ioctls.h */
const TIOCGPTN = 0x8004_5430;
const TIOCSPTLCK = 0x4004_5431;

export interface PseudoTerminal {
  /** The device that a program opens. */
  readonly path: string;
  readonly input: ReadStream;
  readonly output: WriteStream;
  close(): void;
}

export function openPseudoTerminal(): PseudoTerminal {
  const master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
  const ioctl = koffi.load(null).func('ioctl', 'int', ['int', 'ulong', 'void *']);
  const number = Buffer.alloc(4);
  if (ioctl(master, TIOCSPTLCK, number) !== 0 || ioctl(master, TIOCGPTN, number) !== 0)
    throw new Error('no pseudo-terminal');
  const path = `/dev/pts/${number.readInt32LE(0)}`;
  // Without anybody who has it open, the device forgets its mode and the other end reads EIO (pty(7)).
  const held = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
  const { status, stderr } = spawnSync('stty', ['-F', path, 'raw', '-echo'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const input = new ReadStream(master);
  const output = new WriteStream(master);
  for (const each of [input, output]) each.on('error', () => {}); // EIO while nobody has the device open
  return {
    path,
    input,
    output,
    close: () => {
      input.destroy();
      output.destroy();
      closeSync(held);
    },
  };
}
