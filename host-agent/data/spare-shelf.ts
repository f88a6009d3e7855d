import type { Socket } from 'node:net';
import { MAX_SPARES } from '../../shared/link/spare-wish.ts';

/** Where the spare streams of a link lie until somebody takes them. */
export interface SpareShelf {
  /** Takes over a paused stream. */
  put(stream: Socket): void;
  /** One that lives, paused; undefined when there is none. */
  take(): Socket | undefined;
  /** Closes those that have died, and what there is beyond `keep`. */
  tidy(keep: number): void;
  /** Clients that wait for one in other threads. */
  readonly waiting: number;
  /** Told when a stream lies here. */
  onReady: () => void;
  /** Told when more of those wait. */
  onShort: () => void;
  /** Closes all, and all that come later. */
  close(): void;
}

/** Spare streams as sockets of this thread, which are read so that their end is noticed at once. */
export class SocketShelf implements SpareShelf {
  readonly waiting = 0;
  onReady = (): void => {};
  onShort = (): void => {};
  private readonly streams = new Map<Socket, () => void>();
  private closed = false;

  put(stream: Socket): void {
    if (this.closed || this.streams.size >= MAX_SPARES) {
      stream.destroy();
      return;
    }
    // Nothing is to be said before the preface, so that bytes are as bad as an end.
    const drop = (): void => {
      this.forget(stream);
      stream.destroy();
    };
    const events = ['data', 'end', 'error', 'close'] as const;
    for (const event of events) stream.on(event, drop);
    this.streams.set(stream, () => {
      for (const event of events) stream.off(event, drop);
    });
    stream.on('error', () => {}); // of one that is being taken; whoever takes it sees it closed
    stream.resume();
    this.onReady();
  }

  take(): Socket | undefined {
    for (const stream of this.streams.keys()) {
      this.forget(stream);
      stream.pause();
      if (!stream.destroyed) return stream;
    }
    return undefined;
  }

  tidy(keep: number): void {
    while (this.streams.size > keep) this.take()?.destroy();
  }

  close(): void {
    this.closed = true;
    this.tidy(0);
  }

  private forget(stream: Socket): void {
    this.streams.get(stream)?.();
    this.streams.delete(stream);
  }
}
