import type { Limit } from '../limit.ts';
import { p9Error } from '../p9/error-text.ts';

/** With memory of its own for each text: a buffer of Node's may be a small part of a larger one, and would keep all of it. */
const ENCODER = new TextEncoder();

/**
 * What one open fid reads. The text is taken when reading starts at 0 and kept for the parts that follow, so that a client
 * that reads in pieces never gets half of one answer and half of the next.
 */
export class TextSnapshot {
  private readonly kept: Limit;
  private bytes: Uint8Array | undefined;
  private closed = false;

  /** @param kept bytes of all texts that are kept */
  constructor(kept: Limit) {
    this.kept = kept;
  }

  /**
   * @param take the text as it is now
   * @throws BridgeError ENOMEM when too many bytes are kept already
   */
  async read(offset: number, count: number, take: () => string | Promise<string>): Promise<Uint8Array> {
    if (offset === 0 || this.bytes === undefined) this.keep(ENCODER.encode(await take()));
    return this.bytes!.subarray(offset, offset + count);
  }

  forget(): void {
    if (this.bytes !== undefined && !this.closed) this.kept.give(this.bytes.length);
    this.bytes = undefined;
  }

  /** Forgets it for good; a read that is under way still has its text. */
  close(): void {
    this.forget();
    this.closed = true;
  }

  private keep(bytes: Uint8Array): void {
    this.forget();
    if (!this.closed && !this.kept.take(bytes.length)) throw p9Error('Cannot allocate memory');
    this.bytes = bytes;
  }
}
