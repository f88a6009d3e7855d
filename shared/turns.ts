/** How long one peer may keep the thread busy, milliseconds; it has to rest as long as it did. */
const TURN_MS = 2;

interface Waiting<T> {
  readonly item: T;
  readonly dealt: () => void;
}

/**
 * Deals with what comes from one peer, or from all that belong together, in order, and at once while it is little. Who has much to
 * say gets half of the thread at the most, so that others get their turns and the collector keeps up; nothing more is read meanwhile.
 */
export class Turns<T> {
  private readonly deal: (item: T) => void;
  private readonly fail: (error: unknown) => void;
  private readonly now: () => number;
  private readonly queue: Waiting<T>[] = [];
  private spentMs = 0;
  private resting = false;
  private over = false;

  /**
   * @param deal all that an item costs the thread is to happen in it
   * @param fail told of what `deal` throws in a later turn; all is to be ended then
   * @param now a clock, milliseconds
   */
  constructor(deal: (item: T) => void, fail: (error: unknown) => void, now = () => performance.now()) {
    this.deal = deal;
    this.fail = fail;
    this.now = now;
  }

  /** Some wait for their turn: whoever reads them is to stop. */
  get full(): boolean {
    return this.queue.length > 0;
  }

  /**
   * One has come.
   * @param dealt called when it has been dealt with, which may be at once; not if the end comes first
   * @throws what `deal` throws
   */
  take(item: T, dealt: () => void): void {
    if (this.over) return;
    this.queue.push({ item, dealt });
    if (!this.resting) this.run();
  }

  /** It is over: what waits is dropped. */
  end(): void {
    this.over = true;
    this.queue.length = 0;
  }

  private run(): void {
    while (this.queue.length > 0 && this.spentMs < TURN_MS) {
      const { item, dealt } = this.queue.shift()!;
      const begun = this.now();
      this.deal(item);
      this.spentMs += this.now() - begun;
      if (this.over) return;
      dealt();
    }
    if (this.spentMs < TURN_MS) return;
    this.resting = true;
    setTimeout(() => {
      this.resting = false;
      this.spentMs = 0;
      try {
        this.run();
      } catch (error) {
        this.fail(error);
      }
    }, this.spentMs);
  }
}
