/**
 * The spare streams of one link that we dialled: as many as the host agent asks for are open and unused at any time. Its
 * preface takes one into use, and another is opened in its place.
 */
import { setMaxListeners } from 'node:events';
import type { Socket } from 'node:net';
import { messageOf } from '../../shared/errors.ts';
import { readHead } from '../../shared/link/read-head.ts';
import { SpareBackoff } from '../../shared/link/spare-backoff.ts';
import { MAX_SPARES } from '../../shared/link/spare-wish.ts';
import type { Logger } from '../../shared/logger.ts';
import { encodeSpareHead } from '../../shared/spare-head.ts';

/** Opens the spare streams of a link. */
export interface SpareSource {
  /** So many are to be open and unused from now on. */
  want(count: number): void;
  /** The link is over: closes those that are unused. */
  end(): void;
}

export interface SpareStreamsOptions {
  readonly streamKey: Buffer;
  readonly dial: (signal: AbortSignal) => Promise<Socket>;
  /** Gets a stream whose preface has begun to come, paused. */
  readonly accept: (stream: Socket) => void;
  readonly log: Logger;
}

export class SpareStreams implements SpareSource {
  private readonly options: SpareStreamsOptions;
  private readonly over = new AbortController();
  private readonly backoff = new SpareBackoff();
  private wanted = 0;
  /** Being dialled, or open and unused. */
  private unused = 0;

  constructor(options: SpareStreamsOptions) {
    this.options = options;
    setMaxListeners(MAX_SPARES, this.over.signal); // each stream listens
  }

  want(count: number): void {
    this.wanted = Math.min(count, MAX_SPARES);
    this.fill();
  }

  end(): void {
    this.over.abort();
  }

  private fill(): void {
    while (this.unused < this.wanted && !this.backoff.waits && !this.over.signal.aborted) {
      this.unused++;
      void this.open();
    }
  }

  private async open(): Promise<void> {
    const { dial, accept, streamKey } = this.options;
    const { signal } = this.over;
    let stream: Socket | undefined;
    let since = performance.now();
    try {
      stream = await dial(signal);
      since = performance.now();
      stream.write(encodeSpareHead(streamKey));
      await readHead(stream, (bytes) => (bytes.length > 0 ? { value: true, used: 0 } : undefined), {
        what: 'stream preface',
        maxBytes: 0,
        timeoutMs: Number.POSITIVE_INFINITY,
        signal,
      });
      this.unused--;
      this.backoff.succeeded();
      accept(stream);
      this.fill();
    } catch (error) {
      stream?.destroy();
      this.unused--;
      this.lost(error, performance.now() - since);
    }
  }

  private lost(error: unknown, livedMs: number): void {
    // Those beyond what the host wants are its own to close.
    if (this.over.signal.aborted || this.unused >= this.wanted) return;
    const delay = this.backoff.failed(livedMs);
    if (delay === undefined) return;
    const level = this.backoff.first ? 'info' : 'debug';
    this.options.log[level](`a spare stream is opened again in ${delay} ms: ${messageOf(error)}`);
    setTimeout(() => {
      this.backoff.over();
      this.fill();
    }, delay).unref();
  }
}
