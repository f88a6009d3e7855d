/**
 * What one open fid reads. The text is taken when reading starts at 0 and kept for the parts that follow, so that a client
 * that reads in pieces never gets half of one answer and half of the next.
 */
export class TextSnapshot {
  private bytes: Uint8Array | undefined;

  /** @param take the text as it is now */
  async read(offset: number, count: number, take: () => string | Promise<string>): Promise<Uint8Array> {
    if (offset === 0 || this.bytes === undefined) this.bytes = Buffer.from(await take());
    return this.bytes.subarray(offset, offset + count);
  }

  forget(): void {
    this.bytes = undefined;
  }
}
