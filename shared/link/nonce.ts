import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { NONCE_BYTES } from '../control-codec.ts';

/** random(4): the kernel's numbers of the moment, which a process has not drawn ahead. */
const KERNEL_RANDOM = '/dev/urandom';

/**
 * A nonce for one link, NONCE_BYTES. What a process draws by itself is part of its memory, and comes again when a virtual
 * machine is restored twice from one snapshot; so the kernel's random numbers of the moment and the clocks are in it too.
 */
export function freshNonce(): Buffer {
  const clocks = `${Date.now()} ${process.hrtime.bigint()}`;
  return nonceOf(randomBytes(NONCE_BYTES), kernelRandom(), clocks);
}

/** @returns another one whenever any of the three is another one */
export function nonceOf(own: Buffer, kernel: Buffer, clocks: string): Buffer {
  const hash = createHash('sha256');
  for (const part of [own, kernel, Buffer.from(clocks)]) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(part.length);
    hash.update(length).update(part);
  }
  return hash.digest();
}

/** Nothing where there is no such device, as on Windows. */
function kernelRandom(): Buffer {
  const bytes = Buffer.alloc(NONCE_BYTES);
  try {
    const fd = openSync(KERNEL_RANDOM, 'r');
    try {
      return bytes.subarray(0, readSync(fd, bytes));
    } finally {
      closeSync(fd);
    }
  } catch {
    return Buffer.alloc(0);
  }
}
