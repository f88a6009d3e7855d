import type { ByteRate } from './byte-rate.ts';

/** Somebody who has booked bytes and waits for their time. */
export interface PacedWaiter {
  /** The bytes may pass. */
  due(): void;
}

interface Booking {
  at: number;
  readonly bytes: number;
}

/** The longest that another rate, or the end of others who waited, goes unnoticed, milliseconds. */
const LOOK_MS = 100;

/**
 * Those of one thread who wait for a byte rate. A booking's time is never before that of an earlier one, so the first
 * who came is the first who is due. Whoever owns it calls `run` when `first` has come.
 */
export class Pace {
  readonly rate: ByteRate;
  private readonly arm: () => void;
  private readonly waiting = new Map<PacedWaiter, Booking>();
  /** By which the times of the bookings were reckoned. */
  private perSecond: number | undefined;
  private lookAt = 0;

  /** @param arm called when somebody waits and nobody did: `first` is another */
  constructor(rate: ByteRate, arm: () => void) {
    this.rate = rate;
    this.arm = arm;
  }

  /** Whether anything has to be booked. */
  get limited(): boolean {
    return this.rate.limited;
  }

  /** The most that should be booked at a time, bytes. */
  get turn(): number {
    return this.rate.turn;
  }

  /**
   * Books bytes for somebody who has no booking.
   * @returns whether they may pass at once; else `due` is called when they may, unless `cancel` comes before it
   */
  book(waiter: PacedWaiter, bytes: number): boolean {
    const wait = this.rate.book(bytes);
    if (wait === 0) return true;
    const now = performance.now();
    const { size } = this.waiting;
    this.waiting.set(waiter, { at: now + wait, bytes });
    if (size > 0) return false;
    this.perSecond = this.rate.perSecond;
    this.lookAt = now + LOOK_MS;
    this.arm();
    return false;
  }

  /** Somebody's bytes will not be carried: gives back the booking, where there is one. */
  cancel(waiter: PacedWaiter): void {
    const booking = this.waiting.get(waiter);
    if (booking === undefined) return;
    this.waiting.delete(waiter);
    this.rate.cancel(booking.bytes);
  }

  /** When to call `run`, milliseconds of `performance.now`; Infinity while nobody waits. */
  get first(): number {
    for (const { at } of this.waiting.values()) return Math.min(at, this.lookAt);
    return Number.POSITIVE_INFINITY;
  }

  /** Lets those pass who are due. @param now milliseconds of `performance.now` */
  run(now: number): void {
    if (now >= this.lookAt) this.look(now);
    for (const [waiter, { at }] of this.waiting) {
      if (at > now) return;
      this.waiting.delete(waiter);
      waiter.due();
    }
  }

  /** Reckons the bookings anew: by another rate, and by what is left of those before them. */
  private look(now: number): void {
    const { perSecond, wait } = this.rate;
    const factor = perSecond === undefined ? 0 : (this.perSecond ?? perSecond) / perSecond;
    for (const booking of this.waiting.values())
      booking.at = now + Math.min(wait, (booking.at - now) * factor);
    this.perSecond = perSecond;
    this.lookAt = now + LOOK_MS;
  }
}

/** A pace for a thread that has Node's event loop. */
export function paceByTimeout(rate: ByteRate): Pace {
  let timer: NodeJS.Timeout | undefined;
  const arm = (): void => {
    clearTimeout(timer);
    timer = setTimeout(run, Math.ceil(pace.first - performance.now())).unref();
  };
  const run = (): void => {
    pace.run(performance.now());
    if (pace.first < Number.POSITIVE_INFINITY) arm();
  };
  const pace = new Pace(rate, arm);
  return pace;
}
