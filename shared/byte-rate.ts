/** Bytes that may pass at once after a pause, as time of the rate, milliseconds. */
const BURST_MS = 100;

/**
 * So many bytes a second, of all who share it: a token bucket. Who has carried bytes is told how long to wait before it
 * reads more, so that what comes first waits least.
 */
export class ByteRate {
  /** Undefined where there is no limit. */
  perSecond: number | undefined;
  private readonly now: () => number;
  /** When all that was carried is paid for, milliseconds. */
  private paidAt = 0;

  /** @param now milliseconds of a clock that never runs backwards */
  constructor(perSecond: number | undefined, now: () => number = () => performance.now()) {
    this.perSecond = perSecond;
    this.now = now;
  }

  /** Counts bytes that were carried. @returns milliseconds to wait before more are read, 0 for none */
  charge(bytes: number): number {
    if (this.perSecond === undefined) return 0;
    const now = this.now();
    this.paidAt = Math.max(this.paidAt, now) + (bytes * 1_000) / this.perSecond;
    return Math.max(0, this.paidAt - now - BURST_MS);
  }

  /** The same for what cannot wait. @returns false when it is to be dropped; it is not counted then */
  admit(bytes: number): boolean {
    if (this.perSecond !== undefined && this.paidAt - this.now() > BURST_MS) return false;
    this.charge(bytes);
    return true;
  }
}
