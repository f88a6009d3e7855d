/** A pseudo-terminal in raw mode, as a stand-in for a serial port; Linux, and koffi has to load. */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import koffi from 'koffi';

/** asm-generic/ioctls.h */
const TIOCGPTN = 0x8004_5430;
const TIOCSPTLCK = 0x4004_5431;
/** When a full device is tried again, milliseconds. */
const RETRY_MS = 5;

export interface PseudoTerminal {
  /** The device that a program opens. */
  readonly path: string;
  readonly input: ReadStream;
  readonly output: Writable;
  close(): void;
}

export function openPseudoTerminal(): PseudoTerminal {
  const master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
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
  input.on('error', () => {}); // EIO while nobody has the device open
  // Not a tty.WriteStream: that waits in write(2) for a reader, whom this process may be about to start.
  let closed = false;
  const pass = (chunk: Buffer, done: () => void): void => {
    if (closed) return done();
    let count = 0;
    try {
      count = writeSync(master, chunk);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return done();
    }
    if (count === chunk.length) done();
    else setTimeout(() => pass(chunk.subarray(count), done), RETRY_MS);
  };
  const output = new Writable({ write: (chunk: Buffer, _encoding, done) => pass(chunk, done) });
  return {
    path,
    input,
    output,
    close: () => {
      closed = true;
      input.destroy();
      output.destroy();
      closeSync(held);
    },
  };
}
