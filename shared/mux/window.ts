/**
 * Receive windows of one session. Each channel starts small and doubles its window whenever its reader has
 * used one up, so only channels that move data hold much credit. All credit that is out (advertised and not
 * yet consumed) counts against one budget of the session; past it a channel gets the least window only.
 * So the peer can make us hold at most `budget + channels × least` bytes.
 */
import { BridgeError } from '../errors.ts';

export interface WindowSizes {
  /** First window, bytes. */
  readonly initial: number;
  /** Largest window, bytes. */
  readonly max: number;
  /** Window of a channel once the budget is used up, bytes. */
  readonly least: number;
  /** Credit is given again once less than this share of a window is open. */
  readonly refillBelow: number;
  /** Credit that may be out over the whole session before windows shrink to the least, bytes. */
  readonly budget: number;
}

/**
 * Between two portferries. 1 MiB keeps a link busy at 10 Gb/s with 0.8 ms between read and credit; said again after
 * every quarter, the sender seldom runs dry (+50 % with one stream on two cores, against every half).
 */
export const WINDOW_SIZES: WindowSizes = {
  initial: 64 * 1024,
  max: 1024 * 1024,
  least: 16 * 1024,
  refillBelow: 0.75,
  budget: 64 * 1024 * 1024,
};

/** Towards a vpnkit peer: its own constant size. */
export const LEGACY_WINDOW_SIZES: WindowSizes = {
  initial: 65_536,
  max: 65_536,
  least: 65_536,
  refillBelow: 0.5,
  budget: 64 * 1024 * 1024,
};

export class CreditBudget {
  readonly sizes: WindowSizes;
  /** Advertised and not yet consumed, over all channels. */
  out = 0;

  constructor(sizes: WindowSizes) {
    this.sizes = sizes;
  }
}

export class ReceiveWindow {
  private readonly budget: CreditBudget;
  private size = 0;
  private received = 0;
  private consumed = 0;
  private advertised = 0;

  constructor(budget: CreditBudget) {
    this.budget = budget;
  }

  /** Credit for the first time. @returns the absolute sequence number to advertise */
  open(): number {
    const { sizes } = this.budget;
    this.size = this.budget.out + sizes.initial <= sizes.budget ? sizes.initial : sizes.least;
    return this.advertise();
  }

  /** Bytes that the peer still may send. */
  get credit(): number {
    return this.advertised - this.received;
  }

  /** @throws BridgeError PROTOCOL when the peer sends more than it was allowed to */
  arrive(bytes: number): void {
    if (bytes > this.credit)
      throw new BridgeError(
        'PROTOCOL',
        `window overrun: ${bytes} bytes arrived, ${this.credit} were allowed`,
      );
    this.received += bytes;
  }

  /**
   * The application has taken bytes.
   * @returns the sequence number to advertise now, or undefined while enough of the window is open
   */
  consume(bytes: number): number | undefined {
    this.consumed += bytes;
    this.budget.out -= bytes;
    if (this.advertised - this.consumed >= this.size * this.budget.sizes.refillBelow) return undefined;
    const { sizes } = this.budget;
    const room = sizes.budget - this.budget.out;
    const wanted = Math.min(sizes.max, this.size * 2);
    this.size = wanted <= room ? wanted : sizes.least;
    return this.advertise();
  }

  /** Takes back what is out when the channel is gone. */
  close(): void {
    this.budget.out -= this.advertised - this.consumed;
    this.consumed = this.advertised;
  }

  private advertise(): number {
    const sequence = Math.max(this.advertised, this.consumed + this.size);
    this.budget.out += sequence - this.advertised;
    this.advertised = sequence;
    return sequence;
  }
}
