/**
 * Whether the peer of a link is alive now, and not only was so a moment ago: a ping is sent after the question was asked, and
 * answered by the process itself. Questions that come while a ping is out share the next one, so there is one at a time.
 */

/** Below are the numbers of the heart-beat. */
const FIRST_NUMBER = 0x8000_0000;

type Waiter = (alive: boolean) => void;

export class Liveness {
  private readonly sendPing: (number: number) => void;
  private number = FIRST_NUMBER;
  private asked: Waiter[] = [];
  private waiting: Waiter[] = [];
  private over = false;

  constructor(sendPing: (number: number) => void) {
    this.sendPing = sendPing;
  }

  /** Resolves with true when the peer has answered, with false when the link is over before. */
  ask(): Promise<boolean> {
    if (this.over) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      if (this.asked.length === 0) this.send();
    });
  }

  /** The peer has answered a ping, of whomever. */
  pong(number: number): void {
    if (number !== this.number || this.asked.length === 0) return;
    for (const waiter of this.asked.splice(0)) waiter(true);
    if (this.waiting.length > 0) this.send();
  }

  /** The link is over. */
  end(): void {
    this.over = true;
    for (const waiter of [...this.asked.splice(0), ...this.waiting.splice(0)]) waiter(false);
  }

  private send(): void {
    this.asked = this.waiting;
    this.waiting = [];
    this.number = this.number === 0xffff_ffff ? FIRST_NUMBER : this.number + 1;
    this.sendPing(this.number);
  }
}
