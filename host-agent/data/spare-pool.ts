/**
 * The spare streams of a link that the VM shim dialled: it opens them when we ask, and each waits here until a client
 * needs it. Who finds none waits for the next; the more wait, the more we ask for.
 */
import type { Socket } from 'node:net';
import { BridgeError } from '../../shared/errors.ts';
import { nextWish } from '../../shared/link/spare-wish.ts';
import { Waiters } from '../../shared/waiters.ts';
import type { SpareShelf } from './spare-shelf.ts';

/** How long a client waits for a stream: what the transport may take to accept one where we dial, milliseconds. */
export const SPARE_WAIT_MS = 20_000;
/** How often the shelf is looked through for streams that have died, and for more than we ask for, milliseconds. */
const TIDY_MS = 5_000;

export interface SparePoolOptions {
  /** Where streams are kept; the pool closes it. */
  readonly shelf: SpareShelf;
  /** Asks the shim to keep so many open. */
  readonly ask: (count: number) => void;
}

export class SparePool {
  private readonly options: SparePoolOptions;
  private readonly waiters = new Waiters<Socket>();
  private closed = false;
  private readonly timer: NodeJS.Timeout;
  private wish = 0;

  constructor(options: SparePoolOptions) {
    this.options = options;
    options.shelf.onReady = () => this.serve();
    options.shelf.onShort = () => this.adjust();
    this.timer = setInterval(() => this.tidy(), TIDY_MS);
    this.timer.unref();
  }

  /** Asks for the first streams. */
  begin(): void {
    this.adjust();
  }

  /** A stream of this link has come, paused behind its head. */
  add(stream: Socket): void {
    if (stream.readableLength > 0)
      stream.destroy(); // nothing is to be said before the preface
    else if (!this.waiters.give(stream)) this.options.shelf.put(stream);
    this.adjust();
  }

  /** A stream that nothing was written to, paused. @throws BridgeError DIAL_TIMEOUT, LINK_LOST or CANCELLED */
  take(signal: AbortSignal): Promise<Socket> {
    const ready = this.options.shelf.take();
    return ready === undefined ? this.wait(signal) : Promise.resolve(ready);
  }

  /** The link is over: closes what is left, and whoever waits is told. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.timer);
    this.options.shelf.close();
    this.waiters.failAll(lost());
  }

  private wait(signal: AbortSignal): Promise<Socket> {
    if (this.closed) return Promise.reject(lost());
    const stream = this.waiters.wait({
      ms: SPARE_WAIT_MS,
      late: () => {
        const why = `the VM shim opened no stream for it within ${SPARE_WAIT_MS / 1000} s`;
        return new BridgeError('DIAL_TIMEOUT', why);
      },
      cancel: {
        signal,
        error: () => new BridgeError('CANCELLED', 'waiting for a stream to the VM was cancelled'),
      },
    });
    this.adjust();
    return stream;
  }

  /** A stream lies ready that had not when those who wait looked. */
  private serve(): void {
    while (this.waiters.size > 0) {
      const ready = this.options.shelf.take();
      if (ready === undefined) return;
      this.waiters.give(ready);
    }
  }

  private adjust(): void {
    if (this.closed) return;
    const { shelf, ask } = this.options;
    const wish = nextWish(this.wish, this.waiters.size + shelf.waiting);
    if (wish === this.wish) return;
    this.wish = wish;
    ask(wish);
  }

  private tidy(): void {
    this.adjust();
    this.options.shelf.tidy(this.wish);
  }
}

function lost(): BridgeError {
  return new BridgeError('LINK_LOST', 'the link was lost before the VM shim opened another stream');
}
