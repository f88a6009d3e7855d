import { type HeartEvents, SessionHeart } from '../../../link/session-heart.ts';
import type { MuxSession } from '../../../mux/session.ts';
import { type Deadline, type Deadlines, removeDeadline, type Timed } from '../deadlines.ts';
import type { Reactor } from '../reactor.ts';

/** The heart-beat of a session that lives in a worker, ticking by the worker's deadlines. */
export class WorkerHeart implements Timed {
  private readonly reactor: Reactor;
  private readonly heart: SessionHeart;
  private readonly deadlines: Deadlines;
  private deadline: Deadline;
  private stopped = false;

  /** Asks for the first time. */
  constructor(reactor: Reactor, session: MuxSession, intervalMs: number, events: HeartEvents) {
    this.reactor = reactor;
    this.heart = new SessionHeart(session, intervalMs, events);
    this.deadlines = reactor.deadlinesOf(this.heart.tickMs);
    this.deadline = this.deadlines.add(this, reactor.now);
  }

  pong(number: number): void {
    this.heart.pong(number);
  }

  expired(): void {
    this.heart.tick();
    if (!this.stopped) this.deadline = this.deadlines.add(this, this.reactor.now);
  }

  stop(): void {
    this.stopped = true;
    removeDeadline(this.deadline);
  }
}
