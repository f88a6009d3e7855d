import type { Pace, PacedWaiter } from '../pace.ts';
import type { End } from './end.ts';

export interface GateEnds {
  /** The end that bytes come from. */
  readonly from: () => End | undefined;
  /** The end that they go to. */
  readonly to: () => End | undefined;
}

export interface GateLimits {
  /** How fast bytes may pass, where there may be a limit; known by the time that the first one comes. */
  readonly pace?: Pace | undefined;
}

/**
 * One direction of a connection. The end that bytes come from is not read while the other one is full, or while bytes
 * that have come wait for their turn.
 */
export class Gate implements PacedWaiter {
  /** Bytes that have passed. */
  passed = 0;
  private readonly ends: GateEnds;
  private readonly limits: GateLimits;
  private isFull = false;
  /** What has come and was not passed on. */
  private held: Buffer | undefined;
  /** How much of it is booked. */
  private booked = 0;
  /** What has been said behind that. */
  private behind: Array<() => void> = [];

  constructor(ends: GateEnds, limits: GateLimits) {
    this.ends = ends;
    this.limits = limits;
  }

  /** Passes bytes on, now or when their time has come. */
  pass(chunk: Buffer): void {
    const { held } = this;
    const { pace } = this.limits;
    if (pace === undefined || (held === undefined && !pace.limited)) return this.write(chunk);
    this.held = held === undefined ? chunk : Buffer.concat([held, chunk]);
    if (held !== undefined) return;
    this.passHeld(pace);
    // Whoever gave them may use their memory again.
    const left: Buffer | undefined = this.held;
    if (left === undefined) return;
    this.held = Buffer.from(left);
    this.ends.from()?.pause();
  }

  /** Does something behind the last byte. */
  afterwards(step: () => void): void {
    if (this.held === undefined) step();
    else this.behind.push(step);
  }

  /** Something waits to be done behind the last byte. */
  get hasMore(): boolean {
    return this.behind.length > 0;
  }

  due(): void {
    const { booked } = this;
    this.booked = 0;
    this.shift(booked);
    this.goOn();
  }

  /** There is room again. */
  drained(): void {
    this.isFull = false;
    this.goOn();
  }

  /** Nothing passes any more. */
  close(): void {
    if (this.booked > 0) this.limits.pace?.cancel(this);
    this.booked = 0;
    this.held = undefined;
    this.goBehind();
  }

  private goOn(): void {
    const { pace } = this.limits;
    if (pace !== undefined) this.passHeld(pace);
    if (this.held !== undefined) return;
    if (!this.isFull) this.ends.from()?.resume();
    if (this.hasMore) this.goBehind();
  }

  private goBehind(): void {
    for (const step of this.behind.splice(0)) step();
  }

  /** Passes on what may pass at once. */
  private passHeld(pace: Pace): void {
    while (this.held !== undefined && this.booked === 0 && !this.isFull) {
      const bytes = pace.limited ? Math.min(this.held.length, pace.turn) : this.held.length;
      if (pace.book(this, bytes)) this.shift(bytes);
      else this.booked = bytes;
    }
  }

  private shift(bytes: number): void {
    const { held } = this;
    if (held === undefined) return;
    this.held = bytes < held.length ? held.subarray(bytes) : undefined;
    this.write(held.subarray(0, bytes));
  }

  private write(chunk: Buffer): void {
    this.passed += chunk.length;
    if (this.ends.to()?.write(chunk) !== false) return;
    this.isFull = true;
    this.ends.from()?.pause();
  }
}
