/**
 * The dedicated streams that run to or from one instance of the peer. A raw stream cannot say what a link
 * can, so two questions are answered here:
 *
 * - *Reset or end?* Whoever aborts a stream says so over the link, by stream id, before it closes it.
 * - *Ended, or did its process die?* A dead process closes its streams just as a finished one does, one after the other, and
 *   its link among them. An end of stream is therefore believed only when the process has answered a ping behind it. A peer
 *   that knows no ping is believed while the link is up, looked at after two turns of the event loop. If the link breaks
 *   meanwhile, or broke a moment ago, the cause is taken to be the same (a reset). If it has been down for longer, the end is
 *   held until the same instance is back (it was alive: a true end), or until it is replaced or HOLD_MS have passed (a reset).
 */
import { setImmediate as turn } from 'node:timers/promises';

/** How long an end, or an abort that could not be said, waits for the link, milliseconds. */
export const HOLD_MS = 4_000;
/** An end that is read so soon behind the loss of the link may have the same cause, milliseconds. */
const SAME_CAUSE_MS = 250;
/** Resets that arrived before their stream did; kept so that the stream is aborted when it comes. */
const MAX_EARLY = 1_024;

/** What is needed of a link. */
export interface StreamsLink {
  sendStreamReset(streamId: number, errno: number): void;
  /** Resolves with true when the peer has answered a ping that was sent now, with false when the link is over before. */
  askWhetherAlive?(): Promise<boolean> | undefined;
}

export class PeerStreams {
  private readonly aborts = new Map<number, (errno: number) => void>();
  private readonly early = new Map<number, number>();
  private readonly waiters = new Set<(up: boolean) => void>();
  private link: StreamsLink | undefined;
  /** When the link was lost (performance.now()). */
  private downSince = Number.NEGATIVE_INFINITY;
  private over = false;
  /** Set where streams of this instance live in worker threads: told of resets that are for none of ours. */
  elsewhere: ((streamId: number, errno: number) => void) | undefined;
  /** Told once, when this instance will not come back. */
  whenOver: (() => void) | undefined;

  /** Streams that are registered now. */
  get size(): number {
    return this.aborts.size;
  }

  /** The link to this instance is up (again). */
  linkUp(link: StreamsLink): void {
    this.link = link;
    this.wake(true);
  }

  /** The link is down; the instance may come back. */
  linkDown(): void {
    this.link = undefined;
    this.downSince = performance.now();
  }

  /** This instance will not come back: another one has taken its place, or we are stopping. */
  end(): void {
    this.over = true;
    this.link = undefined;
    this.wake(false);
    this.whenOver?.();
  }

  /**
   * Registers a stream.
   * @param onReset called at most once, when the peer says that it aborts the stream
   * @returns whether the peer has already said so (then nothing is registered): its errno
   */
  add(streamId: number, onReset: (errno: number) => void): number | undefined {
    const early = this.early.get(streamId);
    if (early !== undefined) {
      this.early.delete(streamId);
      return early;
    }
    this.aborts.set(streamId, onReset);
    return undefined;
  }

  remove(streamId: number): void {
    this.aborts.delete(streamId);
  }

  /** The peer said over the link that it aborts a stream. */
  remoteReset(streamId: number, errno: number): void {
    const abort = this.aborts.get(streamId);
    if (abort !== undefined) {
      this.aborts.delete(streamId);
      abort(errno);
      return;
    }
    this.elsewhere?.(streamId, errno);
    this.early.set(streamId, errno);
    if (this.early.size > MAX_EARLY) this.early.delete(this.early.keys().next().value!);
  }

  /** Says that we abort a stream; waits for the link at most HOLD_MS. @returns whether it was said */
  async announceReset(streamId: number, errno: number): Promise<boolean> {
    if (!(await this.whenUp())) return false;
    this.link?.sendStreamReset(streamId, errno);
    return true;
  }

  /** Whether an end of stream that was just read is a true one. */
  async confirmEnd(): Promise<boolean> {
    const alive = this.link?.askWhetherAlive?.();
    if (alive !== undefined) return alive;
    await turn();
    await turn();
    if (this.link === undefined && performance.now() - this.downSince < SAME_CAUSE_MS) return false;
    return this.whenUp();
  }

  private whenUp(): Promise<boolean> | boolean {
    if (this.link !== undefined) return true;
    if (this.over) return false;
    return new Promise((resolve) => {
      const done = (up: boolean): void => {
        clearTimeout(timer);
        this.waiters.delete(done);
        resolve(up);
      };
      const timer = setTimeout(() => done(false), HOLD_MS);
      this.waiters.add(done);
    });
  }

  private wake(up: boolean): void {
    for (const waiter of [...this.waiters]) waiter(up);
  }
}
