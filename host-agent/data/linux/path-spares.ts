import { ERRNO } from '../../../shared/errors.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import type { SpareCells } from './spare-cells.ts';

/** Somebody in this worker who needs a spare stream. */
export interface SpareClient {
  /** The descriptor is its own from now on, and not watched. */
  served(fd: number): void;
  /** None will come. */
  denied(errno: number): void;
}

/** The spare streams of a path, as one worker takes them. */
export class PathSpares {
  private readonly cells: SpareCells;
  private readonly worker: number;
  /** Tells the main thread that more clients wait. */
  private readonly short: () => void;
  private readonly waiting = new Set<SpareClient>();

  constructor(cells: SpareCells, worker: number, short: () => void) {
    this.cells = cells;
    this.worker = worker;
    this.short = short;
  }

  /**
   * @returns a descriptor that is this worker's; or that the client waits until it is served, denied or leaves; or that the
   *   link is over, and nobody will be told any more
   */
  take(reactor: Reactor, client: SpareClient): number | 'waits' | 'over' {
    const fd = this.pop(reactor);
    if (fd >= 0) return fd;
    this.cells.wait(this.worker);
    const late = this.pop(reactor);
    if (late >= 0 || this.cells.closed) {
      this.cells.leave(this.worker);
      return late >= 0 ? late : 'over';
    }
    this.waiting.add(client);
    // Each says so while they are few; then each time that they are twice as many.
    const { size } = this.waiting;
    if ((size & (size - 1)) === 0) this.short();
    return 'waits';
  }

  /** The client waits no more. */
  leave(client: SpareClient): void {
    if (this.waiting.delete(client)) this.cells.leave(this.worker);
  }

  /** A descriptor has come for somebody who waits. @returns whether there is one still; else it is the caller's */
  serve(reactor: Reactor, fd: number): boolean {
    const [client] = this.waiting;
    if (client === undefined) {
      this.cells.wait(this.worker); // whoever it was for has taken itself out of the count as well
      return false;
    }
    if (!reactor.sockets.isSilent(fd)) {
      this.cells.wait(this.worker);
      reactor.close(fd);
      return true;
    }
    this.waiting.delete(client);
    client.served(fd);
    return true;
  }

  /** The link is over. */
  close(): void {
    for (const client of [...this.waiting]) {
      this.leave(client);
      client.denied(ERRNO.ECONNABORTED);
    }
  }

  private pop(reactor: Reactor): number {
    for (;;) {
      const fd = this.cells.pop();
      if (fd < 0) return fd;
      reactor.own(fd);
      if (reactor.sockets.isSilent(fd)) return fd;
      reactor.close(fd);
    }
  }
}
