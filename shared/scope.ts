import { setMaxListeners } from 'node:events';

/**
 * Who opens, closes: a scope collects what a unit of work has opened and closes it in reverse order, once.
 * Its signal aborts first, so that whatever still waits stops waiting before its resources go.
 */
export class Scope {
  private readonly controller = new AbortController();
  private readonly cleanups: Array<() => void | Promise<void>> = [];
  private closing: Promise<void> | undefined;

  constructor() {
    // Whatever waits listens to it, and many may wait at once; Node would take more than ten for a leak.
    setMaxListeners(0, this.controller.signal);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get closed(): boolean {
    return this.closing !== undefined;
  }

  /** Registers a cleanup. On a closed scope it runs at once, so that nothing opened late is left behind. */
  defer(cleanup: () => void | Promise<void>): void {
    if (this.closing !== undefined) {
      this.closing = Promise.all([this.closing, cleanup()]).then(() => undefined);
      return;
    }
    this.cleanups.push(cleanup);
  }

  /** Closes everything, last opened first. May be called twice; the second call waits for the first. */
  close(): Promise<void> {
    this.closing ??= this.run();
    return this.closing;
  }

  private async run(): Promise<void> {
    this.controller.abort();
    const errors: unknown[] = [];
    for (const cleanup of this.cleanups.splice(0).reverse()) {
      try {
        await cleanup();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'close failed');
  }
}
