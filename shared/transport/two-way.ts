import { Duplex, type Readable, type Writable } from 'node:stream';

/**
 * One stream of a readable and a writable that belong together. It does not end by itself: whoever made it says when it
 * is over, by `destroy`.
 */
export class TwoWay extends Duplex {
  private readonly from: Readable;
  private readonly to: Writable;
  private readonly release: () => void;

  /**
   * @param from paused; its errors are its owner's, as those of `to`
   * @param release called once, when the stream is destroyed
   */
  constructor(from: Readable, to: Writable, release: () => void) {
    super({ allowHalfOpen: true });
    this.from = from;
    this.to = to;
    this.release = release;
    from.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) from.pause();
    });
    from.pause();
  }

  /** No more will be read. */
  ended(): void {
    this.push(null);
  }

  override _read(): void {
    this.from.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.to.write(chunk, done);
  }

  override _writev(chunks: Array<{ chunk: Buffer }>, done: (error?: Error | null) => void): void {
    this.to.cork();
    chunks.forEach(({ chunk }, index) => {
      this.to.write(chunk, index === chunks.length - 1 ? done : undefined);
    });
    this.to.uncork();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.to.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.release();
    done(error);
  }
}
