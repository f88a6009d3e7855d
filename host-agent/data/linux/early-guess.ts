/** After this many vain tries in a row it is tried only now and then. */
const PATIENCE = 8;
const NOW_AND_THEN = 16;

/** Learns whether a read is worth its call, because it mostly finds something. */
export class EarlyGuess {
  private credit = PATIENCE;
  private skipped = 0;

  worthTrying(): boolean {
    if (this.credit > 0) return true;
    this.skipped = (this.skipped + 1) % NOW_AND_THEN;
    return this.skipped === 0;
  }

  learn(found: boolean): void {
    this.credit = found ? PATIENCE : Math.max(0, this.credit - 1);
  }
}
