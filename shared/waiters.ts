import type { BridgeError } from './errors.ts';

export interface WaitOptions {
  /** How long, milliseconds. */
  readonly ms: number;
  /** What is wrong when nothing has come by then. */
  readonly late: () => BridgeError;
  /** Ends it early. */
  readonly cancel?: { readonly signal: AbortSignal; readonly error: () => BridgeError };
}

interface Waiter<T> {
  readonly done: (value: T) => void;
  readonly fail: (error: BridgeError) => void;
}

/** Those who wait for something that is to come, each for a while; who came first gets it first. */
export class Waiters<T> {
  private readonly waiting = new Set<Waiter<T>>();

  get size(): number {
    return this.waiting.size;
  }

  /** @throws BridgeError `late`, that of `cancel`, or what all are failed with */
  wait({ ms, late, cancel }: WaitOptions): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.waiting.delete(waiter);
        cancel?.signal.removeEventListener('abort', cancelled);
      };
      const fail = (error: BridgeError): void => {
        settle();
        reject(error);
      };
      const done = (value: T): void => {
        settle();
        resolve(value);
      };
      const cancelled = (): void => fail(cancel!.error());
      const waiter = { done, fail };
      const timer = setTimeout(() => fail(late()), ms);
      if (cancel?.signal.aborted) return cancelled();
      cancel?.signal.addEventListener('abort', cancelled, { once: true });
      this.waiting.add(waiter);
    });
  }

  /** Gives it to who has waited longest. @returns whether anybody waited */
  give(value: T): boolean {
    const [first] = this.waiting;
    first?.done(value);
    return first !== undefined;
  }

  giveAll(value: T): void {
    for (const { done } of this.waiting) done(value);
  }

  failAll(error: BridgeError): void {
    for (const { fail } of this.waiting) fail(error);
  }
}
