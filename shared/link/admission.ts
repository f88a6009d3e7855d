/**
 * Who is let in to one end of links: counts who did not prove that it has the token, answers such peers slower and
 * slower, and bounds how many streams may be on their way to a link at once. One for each VM, so that none can hold up
 * another. A peer that does prove itself is never made to wait, whoever else tries.
 */
import type { Duplex } from 'node:stream';
import { BridgeError, messageOf } from '../errors.ts';
import { Limit } from '../limit.ts';
import type { Logger } from '../logger.ts';
import { SparseWarnings } from '../sparse-warnings.ts';

/** Streams that are not a link yet; past it the oldest is closed, so that silent ones cannot lock a true peer out. */
export const MAX_PENDING = 128;
/** Streams of peers that failed and have not been told; past it the oldest is closed at once. */
export const MAX_HELD = 64;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;
/** When nobody has failed for so long, the next is the first again, milliseconds. */
const FORGET_MS = 60_000;

export class Admission {
  /** Peers that did not prove that they have the token, ever. */
  failures = 0;
  private readonly warnings: SparseWarnings;
  private readonly now: () => number;
  private readonly limit: Limit;
  private readonly pending = new Set<Duplex>();
  private readonly held = new Map<Duplex, NodeJS.Timeout>();
  /** Failures in a row. */
  private row = 0;
  private lastFailure = Number.NEGATIVE_INFINITY;

  /**
   * @param what is waited for here, for the log
   * @param now milliseconds of a clock that never runs backwards
   */
  constructor(what: string, log: Logger, now: () => number = () => performance.now()) {
    this.warnings = new SparseWarnings(log, now);
    this.now = now;
    this.limit = new Limit(`streams that are to become a link ${what}`, MAX_PENDING, log);
  }

  /** A stream is to become a link. Followed by `admit` or `refuse`. */
  enter(stream: Duplex): void {
    if (!this.limit.take()) {
      const oldest = this.pending.values().next().value!;
      this.pending.delete(oldest);
      oldest.destroy();
    }
    this.pending.add(stream);
  }

  /** It has become one. */
  admit(stream: Duplex): void {
    this.leave(stream);
    this.row = 0;
  }

  /**
   * It has not, and is closed: if its peer did not prove itself and waits for our answer, by and by.
   * @param dialled whether we opened the stream; then our own delay before the next is what slows it down
   */
  refuse(stream: Duplex, error: unknown, dialled: boolean): void {
    this.leave(stream);
    if (!(error instanceof BridgeError) || error.code !== 'AUTH_FAILED') {
      stream.destroy();
      return;
    }
    this.failures++;
    const delay = this.nextDelay();
    if (dialled || stream.destroyed) stream.destroy();
    else this.hold(stream, delay);
  }

  /** Says in the log that a stream did not become a link, as a warning unless there are many. */
  report(error: unknown): void {
    const code = error instanceof BridgeError ? error.code : undefined;
    const { failures: authFailures } = this;
    this.warnings.warn({ code, authFailures }, `link refused: ${messageOf(error)}`);
  }

  /** Closes every stream that waits. */
  close(): void {
    for (const stream of this.pending) stream.destroy();
    for (const stream of [...this.held.keys()]) this.release(stream);
  }

  private leave(stream: Duplex): void {
    if (this.pending.delete(stream)) this.limit.give();
  }

  private nextDelay(): number {
    const now = this.now();
    if (now - this.lastFailure > FORGET_MS) this.row = 0;
    this.lastFailure = now;
    return Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this.row++, 10));
  }

  /** Nothing more is read from it: what its peer still says stays with its peer. */
  private hold(stream: Duplex, ms: number): void {
    stream.pause();
    this.held.set(
      stream,
      setTimeout(() => this.release(stream), ms),
    );
    if (this.held.size > MAX_HELD) this.release(this.held.keys().next().value!);
  }

  private release(stream: Duplex): void {
    clearTimeout(this.held.get(stream));
    this.held.delete(stream);
    stream.destroy();
  }
}
