/** How long a stream that failed waits before another is opened in its place: 50 ms, doubling to 5 s. */
const FIRST_DELAY_MS = 50;
const MAX_DELAY_MS = 5_000;
/** A stream that lived for so long before it was lost counts as none that failed, milliseconds. */
const LASTING_MS = 10_000;

/** When spare streams are opened again after some have failed. Those that fail together count once. */
export class SpareBackoff {
  private failures = 0;
  private pending = false;

  /** Nothing is to be opened now. */
  get waits(): boolean {
    return this.pending;
  }

  /**
   * One has failed.
   * @param livedMs how long it was open
   * @returns the delay after which `over` is to be called, milliseconds; undefined when it runs already
   */
  failed(livedMs: number): number | undefined {
    if (this.pending) return undefined;
    if (livedMs >= LASTING_MS) this.failures = 0;
    this.pending = true;
    return Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this.failures++, 10));
  }

  over(): void {
    this.pending = false;
  }

  /** One was of use. */
  succeeded(): void {
    this.failures = 0;
  }

  /** Whether it is the first of a run. */
  get first(): boolean {
    return this.failures <= 1;
  }
}
