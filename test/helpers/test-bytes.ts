import { createHash, type Hash } from 'node:crypto';
import type { Socket } from 'node:net';

/** Not a power of two, so that no block begins where a buffer does. */
const BLOCK_BYTES = 1_000_003;
const STAMP_EVERY = 4_096;

/** Bytes that can be told apart by seed and position, made block by block. */
export class TestBytes {
  private readonly base = Buffer.alloc(BLOCK_BYTES);
  private readonly total: number;
  private made = 0;
  private blocks = 0;

  /**
   * @param seed another one gives other bytes
   * @param total how many there are
   */
  constructor(seed: number, total: number) {
    this.total = total;
    let state = seed >>> 0 || 1;
    for (let i = 0; i < BLOCK_BYTES; i++) {
      // xorshift32 (Marsaglia, 2003)
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      this.base[i] = state & 0xff;
    }
  }

  /** The next block, or undefined behind the last one. */
  next(): Buffer | undefined {
    if (this.made >= this.total) return undefined;
    const block = Buffer.from(this.base);
    for (let at = 0; at + 4 <= block.length; at += STAMP_EVERY) block.writeUInt32LE(this.blocks + at, at);
    this.blocks++;
    const part = block.subarray(0, Math.min(BLOCK_BYTES, this.total - this.made));
    this.made += part.length;
    return part;
  }
}

/** SHA-256 of the bytes of a seed. */
export function digestOf(seed: number, total: number): string {
  const hash = createHash('sha256');
  const bytes = new TestBytes(seed, total);
  for (let block = bytes.next(); block !== undefined; block = bytes.next()) hash.update(block);
  return hash.digest('hex');
}

/** Writes the bytes of a seed as the socket takes them, and then half-closes. */
export function sendBytes(socket: Socket, seed: number, total: number): void {
  const bytes = new TestBytes(seed, total);
  const more = (): void => {
    for (let block = bytes.next(); block !== undefined; block = bytes.next())
      if (!socket.write(block)) return;
    socket.off('drain', more);
    socket.end();
  };
  socket.on('drain', more);
  more();
}

/** Reads to a clean end. @throws what broke the stream */
export function receiveBytes(socket: Socket): Promise<{ digest: string; bytes: number }> {
  const hash: Hash = createHash('sha256');
  let bytes = 0;
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    socket.on('end', () => resolve({ digest: hash.digest('hex'), bytes }));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed without an end after ${bytes} bytes`)));
  });
}
