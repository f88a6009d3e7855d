import { setTimeout as delay } from 'node:timers/promises';
import type { Seen, Stop } from '../helpers/piece-proxy.ts';
import type { Place, Point } from './points.ts';

/** One fault that waits for its point, strikes there once, and says when it has. */
export class Fault {
  readonly struck: Promise<void>;
  private readonly point: Point;
  private readonly strike: () => Promise<void>;
  private readonly pauseMs: number;
  private resolve!: () => void;
  private reject!: (error: unknown) => void;
  private spent = false;

  /**
   * @param pauseMs how long the other side has with what was passed before the fault strikes
   * @param strike ends the victim; the stream at the point is held until it has
   */
  constructor(point: Point, pauseMs: number, strike: () => Promise<void>) {
    this.point = point;
    this.pauseMs = pauseMs;
    this.strike = strike;
    this.struck = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.struck.catch(() => {}); // whoever waits hears of it
  }

  /** What to do at a piece that passes there. */
  at(place: Place, { direction, kind, opening }: Seen): Stop | undefined {
    const { point } = this;
    if (this.spent || place !== point.place || direction !== point.direction || kind !== point.kind)
      return undefined;
    if (point.opening === 'preface' && opening === 'spare') return this.stop();
    if (point.opening !== undefined && opening !== point.opening) return undefined;
    return this.stop();
  }

  private stop(): Stop {
    const { point } = this;
    this.spent = true;
    return { part: point.part, act: () => this.act() };
  }

  private async act(): Promise<void> {
    try {
      if (this.pauseMs > 0) await delay(this.pauseMs);
      await this.strike();
      this.resolve();
    } catch (error) {
      this.reject(error);
    }
  }
}
