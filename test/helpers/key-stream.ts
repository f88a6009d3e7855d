import { type Cipher, createCipheriv } from 'node:crypto';

const KEY = Buffer.alloc(16);
const MOST = 64 * 1024;
const ZEROS = Buffer.alloc(MOST);

/** Bytes without end that only their seed tells: those of AES in counter mode, so that each one's place can be checked. */
export class KeyStream {
  private readonly cipher: Cipher;

  constructor(seed: number) {
    const start = Buffer.alloc(16);
    start.writeUInt32BE(seed >>> 0, 0);
    this.cipher = createCipheriv('aes-128-ctr', KEY, start);
  }

  /** The next bytes, 64 KiB at the most. */
  next(bytes: number): Buffer {
    return this.cipher.update(ZEROS.subarray(0, Math.min(bytes, MOST)));
  }

  /** Takes the next bytes off the stream and compares them: none may be lost, doubled or changed. */
  matches(chunk: Buffer): boolean {
    for (let at = 0; at < chunk.length; at += MOST) {
      const part = chunk.subarray(at, at + MOST);
      if (!this.next(part.length).equals(part)) return false;
    }
    return true;
  }
}
