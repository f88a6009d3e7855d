/**
 * Why ports of this VM could not be opened. They are asked for again and again, and it costs far more to look for who is in
 * the way than to try: it is looked for when the system says something else than the last time, and then now and then.
 */
import type { BridgeError } from '../../shared/errors.ts';
import { explain } from '../../shared/ports/diagnosis/explain.ts';
import { MAX_REVERSE } from '../../shared/reverse-messages.ts';

/** How long what was found is believed, milliseconds. */
const BELIEVED_MS = 60_000;
/** And how long after any look, so that many that are refused do not have the machine look all the time, milliseconds. */
const PAUSE_MS = 1_000;

interface Refused {
  /** As the system said it. */
  readonly plain: string;
  /** With who is in the way. */
  readonly error: BridgeError;
  /** Of a steady clock, milliseconds, as the next. */
  readonly lookedAt: number;
  /** When it was refused last. */
  refusedAt: number;
}

export class Refusals {
  private readonly now: () => number;
  private readonly findOut: typeof explain;
  /** By the spec; that refused last is the last. */
  private readonly known = new Map<string, Refused>();
  private lookedAt = 0;

  /**
   * @param now a steady clock, milliseconds
   * @param findOut for tests
   */
  constructor(now = () => performance.now(), findOut = explain) {
    this.now = now;
    this.findOut = findOut;
  }

  /** @returns the error with who is in the way, and whether that is what it was the last time too */
  async explain(spec: string, error: BridgeError): Promise<{ error: BridgeError; known: boolean }> {
    const last = this.known.get(spec);
    const refused = last?.plain === error.message && this.isBelieved(last) ? last : await this.look(error);
    refused.refusedAt = this.now();
    this.known.delete(spec);
    this.known.set(spec, refused);
    if (this.known.size > MAX_REVERSE) this.known.delete(this.known.keys().next().value!);
    return { error: refused.error, known: last?.error.message === refused.error.message };
  }

  /** It is open now. */
  forget(spec: string): void {
    this.known.delete(spec);
  }

  /** Of all that are old and still refused, the oldest has its turn: they are always asked for in the same order. */
  private isBelieved({ lookedAt }: Refused): boolean {
    const now = this.now();
    if (now - lookedAt < BELIEVED_MS || now - this.lookedAt < PAUSE_MS) return true;
    const isBefore = (each: Refused) => each.lookedAt < lookedAt && now - each.refusedAt < BELIEVED_MS;
    return [...this.known.values()].some(isBefore);
  }

  private async look(plain: BridgeError): Promise<Refused> {
    const error = await this.findOut(plain);
    this.lookedAt = this.now();
    return { plain: plain.message, error, lookedAt: this.lookedAt, refusedAt: this.lookedAt };
  }
}
