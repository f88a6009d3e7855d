/**
 * When the peer of a link is asked whether it is there, and when it is dead: pure, driven by ticks.
 *
 * A peer is dead when it has said nothing, of whatever kind, for three intervals. Silence is counted in ticks of ours and
 * not by the clock, so that a machine that slept does not take what it has slept through for the silence of others. But
 * after a sleep, or a step of the time, a link may well be gone: the peer is asked at once then and has one second to say
 * anything. A jump shows as a difference between the clock that never runs backwards and that of the wall (suspend), or as a
 * tick that comes late (a stopped process, a paused VM).
 */
import { BridgeError } from '../errors.ts';

/** How often a peer is asked unless told otherwise, milliseconds. */
export const HEARTBEAT_MS = 10_000;
const MIN_HEARTBEAT_MS = 100;
const MAX_HEARTBEAT_MS = 3_600_000;
/** Intervals of silence that a peer survives. */
const SILENT_INTERVALS = 3;
/** Time to answer after a jump, milliseconds. */
const AFTER_JUMP_MS = 1_000;
/** What the clocks may differ by from one tick to the next, and at least what a tick may be late by. */
const JUMP_MS = 2_000;
const MAX_TICK_MS = 1_000;

/** Milliseconds of two clocks. */
export interface Moment {
  /** Of one that never runs backwards. */
  readonly steady: number;
  /** Of the time of day. */
  readonly wall: number;
}

export function momentNow(): Moment {
  return { steady: performance.now(), wall: Date.now() };
}

/** What is to be done: nothing, ask the peer, or give it up for one of two reasons. */
export type Beat = 'wait' | 'ask' | 'silent' | 'silent-after-jump';

export class Heartbeat {
  readonly intervalMs: number;
  /** How often `tick` is to be called, milliseconds. */
  readonly tickMs: number;
  private last: Moment;
  private received: number;
  private silence = 0;
  private sinceAsked = 0;
  private unanswered = true;
  /** Time since the last jump for as long as nothing has come. */
  private afterJump: number | undefined;

  /** The peer is asked for the first time now. @param received bytes that have come until now */
  constructor(intervalMs: number, now: Moment, received: number) {
    this.intervalMs = intervalMs;
    this.tickMs = Math.min(MAX_TICK_MS, intervalMs / 4);
    this.last = now;
    this.received = received;
  }

  /** It has answered what it was asked last. */
  answered(): void {
    this.unanswered = false;
  }

  /** @param received bytes that have ever come */
  tick(now: Moment, received: number): Beat {
    const passed = Math.max(0, now.steady - this.last.steady);
    const jumped = this.hasJumped(now, passed);
    // However late we are: we were awake for a tick or two.
    const awake = Math.min(passed, 2 * this.tickMs);
    this.last = now;
    this.sinceAsked += awake;
    if (received !== this.received) {
      this.received = received;
      this.silence = 0;
      this.afterJump = undefined;
    } else {
      this.silence += awake;
      if (this.afterJump !== undefined) this.afterJump += awake;
    }
    if (this.silence >= SILENT_INTERVALS * this.intervalMs) return 'silent';
    if (jumped) {
      this.afterJump = 0;
      return this.ask();
    }
    if (this.afterJump !== undefined && this.afterJump >= AFTER_JUMP_MS) return 'silent-after-jump';
    return this.sinceAsked >= this.intervalMs && !this.unanswered ? this.ask() : 'wait';
  }

  private ask(): 'ask' {
    this.sinceAsked = 0;
    this.unanswered = true;
    return 'ask';
  }

  private hasJumped({ wall }: Moment, passed: number): boolean {
    const late = passed - this.tickMs > Math.max(JUMP_MS, this.intervalMs / 2);
    return late || Math.abs(wall - this.last.wall - passed) > JUMP_MS;
  }
}

/** Parses an interval in seconds. @returns milliseconds @throws BridgeError BAD_REQUEST */
export function parseHeartbeat(text: string | undefined): number {
  if (text === undefined) return HEARTBEAT_MS;
  const ms = /^\d{1,5}(?:\.\d{1,3})?$/.test(text) ? Number(text) * 1_000 : Number.NaN;
  if (ms >= MIN_HEARTBEAT_MS && ms <= MAX_HEARTBEAT_MS) return ms;
  throw new BridgeError('BAD_REQUEST', `--heartbeat "${text}" is no number of seconds from 0.1 to 3600`);
}
