/**
 * The spare streams of a link that the VM shim dialled: it opens them when we ask, and each waits here until a client
 * needs it. Who finds none waits for the next; the more wait, the more we ask for.
 */
import type { Socket } from 'node:net';
import { BridgeError } from '../../shared/errors.ts';
import { nextWish } from '../../shared/link/spare-wish.ts';
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
  private readonly waiters = new Set<(stream: Socket) => void>();
  private readonly over = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private wish = 0;

  constructor(options: SparePoolOptions) {
    this.options = options;
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
    if (this.over.signal.aborted) {
      stream.destroy();
      return;
    }
    const [waiter] = this.waiters;
    if (waiter === undefined) this.options.shelf.put(stream);
    else waiter(stream);
    this.adjust();
  }

  /** A stream that nothing was written to, paused. @throws BridgeError DIAL_TIMEOUT, LINK_LOST or CANCELLED */
  take(signal: AbortSignal): Promise<Socket> {
    const ready = this.options.shelf.take();
    return ready === undefined ? this.wait(signal) : Promise.resolve(ready);
  }

  /** The link is over: closes what is left, and whoever waits is told. */
  close(): void {
    if (this.over.signal.aborted) return;
    clearInterval(this.timer);
    this.over.abort();
    this.options.shelf.close();
  }

  private wait(signal: AbortSignal): Promise<Socket> {
    const { signal: over } = this.over;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.waiters.delete(done);
        signal.removeEventListener('abort', cancel);
        over.removeEventListener('abort', lose);
      };
      const fail = (error: BridgeError): void => {
        settle();
        reject(error);
      };
      const done = (stream: Socket): void => {
        settle();
        resolve(stream);
      };
      const cancel = (): void =>
        fail(new BridgeError('CANCELLED', 'waiting for a stream to the VM was cancelled'));
      const lose = (): void =>
        fail(new BridgeError('LINK_LOST', 'the link was lost before the VM shim opened another stream'));
      const timer = setTimeout(() => {
        const why = `the VM shim opened no stream for it within ${SPARE_WAIT_MS / 1000} s`;
        fail(new BridgeError('DIAL_TIMEOUT', why));
      }, SPARE_WAIT_MS);
      if (signal.aborted) return cancel();
      if (over.aborted) return lose();
      signal.addEventListener('abort', cancel, { once: true });
      over.addEventListener('abort', lose, { once: true });
      this.waiters.add(done);
      this.adjust();
    });
  }

  private adjust(): void {
    if (this.over.signal.aborted) return;
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
