/** What may be carried ahead of the rate, as time of the rate, milliseconds. */
const BURST_MS = 100;
/** The same for what can wait: so there is room for what cannot (datagrams). */
const PATIENT_BURST_MS = 50;
/** The part of the rate that is kept for datagrams, however many connections wait. */
const DATAGRAM_PART = 1 / 2;
/** What one booking has, as time of the rate: those who wait take turns of this. */
const TURN_MS = 10;
/** Least and most of that, bytes; where a burst is less than the least, that. */
const LEAST_TURN = 1_024;
const MOST_TURN = 64 * 1024;

/** A byte rate as it is told to another thread. */
export interface ByteShare {
  /** The same in all threads, and no other's. */
  readonly id: number;
  readonly cells: SharedArrayBuffer;
}

let lastId = 0;

/**
 * So many bytes a second, of all who share it in whatever thread: a token bucket by virtual scheduling (GCRA, ITU-T
 * I.371, annex A), whose one number is when all that was booked is paid for. A booking moves it on and has its time
 * then, so that those who wait are served in the order in which they came and no list is shared. Datagrams have a bucket
 * of their own besides, for the part that is kept for them; what they take is booked in the common one as well, so that
 * those who wait give way.
 */
export class ByteRate {
  readonly share: ByteShare;
  /** Nanoseconds of the clock, and bytes a second. */
  private readonly cells: BigInt64Array;
  /** Its one element is not 0 where there is a limit. */
  private readonly flag: Int32Array;
  private readonly now: () => bigint;

  /**
   * @param share what another thread was told of; without it a new rate, with no limit at first
   * @param now nanoseconds of a clock that never runs backwards and that all threads share
   */
  constructor(
    share: ByteShare = { id: ++lastId, cells: new SharedArrayBuffer(CELL_BYTES) },
    now: () => bigint = process.hrtime.bigint,
  ) {
    this.share = share;
    this.cells = new BigInt64Array(share.cells, 0, FLAG_AT / 8);
    this.flag = new Int32Array(share.cells, FLAG_AT, 1);
    this.now = now;
  }

  /** Whether there is a limit now. Asked for all that is carried, so without the cost of an atomic read. */
  get limited(): boolean {
    return this.flag[0] !== 0;
  }

  /** Bytes; undefined where there is no limit. */
  get perSecond(): number | undefined {
    return this.limited ? Number(Atomics.load(this.cells, RATE)) : undefined;
  }

  /** Holds for all threads at once; one of them may set it. What is owed stays as many bytes. */
  set perSecond(rate: number | undefined) {
    const { cells, flag, perSecond: old } = this;
    for (const cell of [PAID_AT, DATAGRAMS_PAID_AT]) {
      if (rate === undefined || old === undefined) Atomics.store(cells, cell, 0n);
      else if (rate !== old) this.stretch(cell, old / rate);
    }
    if (rate !== undefined) Atomics.store(cells, RATE, BigInt(rate));
    Atomics.store(flag, 0, rate === undefined ? 0 : 1);
  }

  /** The most that should be booked at a time, bytes. */
  get turn(): number {
    const rate = this.perSecond ?? Number.MAX_SAFE_INTEGER;
    const least = Math.min(LEAST_TURN, (rate * PATIENT_BURST_MS) / 1_000);
    return Math.floor(Math.min(MOST_TURN, Math.max(least, (rate * TURN_MS) / 1_000)));
  }

  /** Books bytes that are to be carried. @returns milliseconds to wait before they may pass, 0 for none */
  book(bytes: number): number {
    if (!this.limited) return 0;
    return Math.max(0, this.charge(PAID_AT, bytes, Number.POSITIVE_INFINITY) - PATIENT_BURST_MS);
  }

  /** When all that is booked now may pass, in so many milliseconds: nobody has to wait longer. */
  get wait(): number {
    if (!this.limited) return 0;
    return Math.max(0, milliseconds(Atomics.load(this.cells, PAID_AT) - this.now()) - PATIENT_BURST_MS);
  }

  /** Takes back a booking whose bytes will not be carried. */
  cancel(bytes: number): void {
    if (this.limited) Atomics.sub(this.cells, PAID_AT, this.costOf(bytes));
  }

  /** Books what cannot wait. @returns false when it is to be dropped; it is not booked then */
  admit(bytes: number): boolean {
    if (!this.limited) return true;
    if (this.charge(DATAGRAMS_PAID_AT, bytes / DATAGRAM_PART, BURST_MS) < 0)
      return this.charge(PAID_AT, bytes, BURST_MS) >= 0;
    this.charge(PAID_AT, bytes, Number.POSITIVE_INFINITY);
    return true;
  }

  /** @returns how much is owed then, as milliseconds of the rate; -1 when more than `most` was owed already */
  private charge(cell: number, bytes: number, most: number): number {
    const { cells } = this;
    const now = this.now();
    const cost = this.costOf(bytes);
    for (;;) {
      const paidAt = Atomics.load(cells, cell);
      const owed = paidAt > now ? paidAt - now : 0n;
      if (milliseconds(owed) > most) return -1;
      if (Atomics.compareExchange(cells, cell, paidAt, now + owed + cost) === paidAt)
        return milliseconds(owed + cost);
    }
  }

  private costOf(bytes: number): bigint {
    return BigInt(Math.ceil((bytes * 1e9) / Number(Atomics.load(this.cells, RATE))));
  }

  private stretch(cell: number, factor: number): void {
    const { cells } = this;
    const now = this.now();
    for (;;) {
      const paidAt = Atomics.load(cells, cell);
      if (paidAt <= now) return;
      const stretched = now + BigInt(Math.ceil(Number(paidAt - now) * factor));
      if (Atomics.compareExchange(cells, cell, paidAt, stretched) === paidAt) return;
    }
  }
}

function milliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds) / 1e6;
}

const PAID_AT = 0;
const RATE = 1;
const DATAGRAMS_PAID_AT = 2;
/** Where the flag is, bytes. */
const FLAG_AT = 24;
const CELL_BYTES = 32;
