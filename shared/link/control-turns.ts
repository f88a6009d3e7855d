/** How long a link may keep the thread busy with its control messages, milliseconds; it has to rest as long as it did. */
const TURN_MS = 2;

interface Waiting {
  readonly payload: Buffer;
  readonly dealt: () => void;
}

/**
 * Deals with the control messages of a link in order, as they come while they are few. A peer that has much to say gets half of
 * the thread at the most, so that others get their turns and the collector keeps up; nothing more is read from it meanwhile.
 */
export class ControlTurns {
  private readonly deal: (payload: Buffer) => void;
  private readonly fail: (error: unknown) => void;
  private readonly now: () => number;
  private readonly queue: Waiting[] = [];
  private spentMs = 0;
  private resting = false;
  private over = false;

  /**
   * @param fail told of what `deal` throws in a later turn; the link is to be ended then
   * @param now a clock, milliseconds
   */
  constructor(
    deal: (payload: Buffer) => void,
    fail: (error: unknown) => void,
    now = () => performance.now(),
  ) {
    this.deal = deal;
    this.fail = fail;
    this.now = now;
  }

  /** Messages wait for their turn: whoever reads them is to stop. */
  get full(): boolean {
    return this.queue.length > 0;
  }

  /**
   * A message has come.
   * @param dealt called when it has been dealt with, which may be at once; not if the link ends first
   * @throws what `deal` throws
   */
  take(payload: Buffer, dealt: () => void): void {
    if (this.over) return;
    this.queue.push({ payload, dealt });
    if (!this.resting) this.run();
  }

  /** The link is over: what waits is dropped. */
  end(): void {
    this.over = true;
    this.queue.length = 0;
  }

  private run(): void {
    while (this.queue.length > 0 && this.spentMs < TURN_MS) {
      const { payload, dealt } = this.queue.shift()!;
      const begun = this.now();
      this.deal(payload);
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
