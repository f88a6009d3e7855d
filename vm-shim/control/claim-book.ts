/**
 * All that this shim wants published, whoever asked for it: the control filesystem, the gateway API. The host agent
 * carries it out; the book asks it over the link, says everything again on every new link, and so outlives both.
 */
import { CLAIMS_PER_MESSAGE, MAX_CLAIMS, type WantedClaim } from '../../shared/claim-messages.ts';
import type { ControlMessage } from '../../shared/control-codec.ts';
import { BridgeError } from '../../shared/errors.ts';
import type { Link } from '../../shared/link/link.ts';
import type { Logger } from '../../shared/logger.ts';
import { formatSpec, parseSpec } from '../../shared/port-spec.ts';
import type { PortClaim, PortDoor } from '../../shared/portfs/door.ts';
import { Wish } from './wish.ts';

/** How long a request waits for the host agent's answer, and for the link before it; below what /port allows. */
const ANSWER_MS = 8_000;
/** What was published once and is refused on a new link is asked for again after this, milliseconds. */
const RETRY_MS = 5_000;

/** How long stopping waits for the host agent to have released everything, milliseconds. */
const CLOSE_MS = 2_000;

/** What is needed of a link. */
export type ClaimLink = Pick<Link, 'peer' | 'has' | 'send' | 'receive'>;

export interface ClaimBookOptions {
  readonly log: Logger;
  readonly answerMs?: number;
  readonly retryMs?: number;
}

export class ClaimBook implements PortDoor {
  private readonly log: Logger;
  private readonly answerMs: number;
  private readonly retryMs: number;
  private readonly wishes = new Map<number, Wish>();
  /** Who waits to hear that what it gave up is released. */
  private readonly leaving = new Map<number, () => void>();
  private link: ClaimLink | undefined;
  private lastId = 0;

  constructor({ log, answerMs = ANSWER_MS, retryMs = RETRY_MS }: ClaimBookOptions) {
    this.log = log;
    this.answerMs = answerMs;
    this.retryMs = retryMs;
  }

  /**
   * Asks the host agent for one forward, and keeps asking on later links until it is released.
   * @throws BridgeError BAD_SPEC; what the host agent says; NO_LINK or TIMEOUT when it does not answer in time
   */
  async claim(text: string, signal: AbortSignal): Promise<PortClaim> {
    const spec = formatSpec(parseSpec(text));
    if (this.wishes.size >= MAX_CLAIMS)
      throw new BridgeError(
        'LIMIT_REACHED',
        `there are ${MAX_CLAIMS} forwards already, the most there may be`,
      );
    const wish = new Wish(++this.lastId, spec);
    this.wishes.set(wish.id, wish);
    this.ask(wish);
    const giveUp = (): void => wish.refuse(new BridgeError('CANCELLED', `${spec}: given up`));
    const timer = setTimeout(() => wish.refuse(this.noAnswer(spec)), this.answerMs);
    signal.addEventListener('abort', giveUp);
    if (signal.aborted) giveUp();
    try {
      const resolved = await wish.answered;
      return {
        resolved,
        status: () => wish.status(this.link !== undefined),
        stats: () => ({}),
        ended: wish.ended,
        release: (options) => this.release(wish, options?.now ?? false),
      };
    } catch (error) {
      void this.release(wish, true);
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** A link is up: says all that is wanted. */
  linkUp(link: ClaimLink): void {
    if (!link.has('claims')) {
      if (link.peer !== undefined)
        this.log.warn('the host agent takes no claims over the link: nothing can be published from here');
      return;
    }
    // Another host agent, and the link to the last one is still up: it is to have nothing of ours.
    if (this.link !== undefined && this.link.peer?.instance !== link.peer?.instance)
      this.link.send({ type: 'claims', claims: [], more: false });
    this.forgetLink();
    this.link = link;
    link.receive((message) => {
      if (this.link === link) this.take(message);
    });
    const all = [...this.wishes.values()].map(({ id, spec }): WantedClaim => ({ id, spec }));
    for (let from = 0; from === 0 || from < all.length; from += CLAIMS_PER_MESSAGE) {
      const claims = all.slice(from, from + CLAIMS_PER_MESSAGE);
      link.send({ type: 'claims', claims, more: from + CLAIMS_PER_MESSAGE < all.length });
    }
  }

  linkDown(link: ClaimLink): void {
    if (this.link === link) this.forgetLink();
  }

  /** Releases all that is wanted, and waits a little to hear of it. */
  async close(): Promise<void> {
    const released = Promise.all([...this.wishes.values()].map((wish) => this.release(wish, true)));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    await Promise.race([released, late]);
    clearTimeout(timer);
  }

  private take(message: ControlMessage): void {
    switch (message.type) {
      case 'claimed':
        this.wishes.get(message.id)?.grant(message.spec, message.note);
        return;
      case 'refused':
        this.refused(message.id, new BridgeError(message.code, message.text));
        return;
      case 'unclaimed':
        this.leaving.get(message.id)?.();
        this.leaving.delete(message.id);
        return;
      default:
        throw new BridgeError('PROTOCOL', `control message "${message.type}" is not for a VM shim`);
    }
  }

  private refused(id: number, error: BridgeError): void {
    const wish = this.wishes.get(id);
    if (wish === undefined) return;
    const { published, granted } = wish;
    wish.refuse(error);
    // Never granted: whoever asked hears of it. Granted on this link: somebody on the host has ended it.
    if (!granted || published) this.wishes.delete(id);
    if (!granted) return;
    if (published) {
      wish.end(error);
      this.log.warn({ spec: wish.spec, code: error.code }, `ended by the host: ${error.message}`);
      return;
    }
    this.log.warn({ spec: wish.spec, code: error.code }, `not published again: ${error.message}; trying on`);
    const { link } = this;
    const again = (): void => {
      if (this.link === link && this.wishes.has(id)) this.ask(wish);
    };
    setTimeout(again, this.retryMs).unref();
  }

  private ask({ id, spec }: Wish): void {
    this.link?.send({ type: 'claim', id, spec });
  }

  /** Resolves when the host has released it, or has lost its link and will. */
  private release(wish: Wish, now: boolean): Promise<void> {
    const { link } = this;
    if (!this.wishes.delete(wish.id)) return wish.released;
    if (link === undefined) return Promise.resolve();
    wish.released = new Promise((resolve) => {
      this.leaving.set(wish.id, resolve);
      link.send({ type: 'unclaim', id: wish.id, now });
    });
    return wish.released;
  }

  private forgetLink(): void {
    this.link = undefined;
    for (const wish of this.wishes.values()) wish.published = false;
    for (const done of this.leaving.values()) done();
    this.leaving.clear();
  }

  private noAnswer(spec: string): BridgeError {
    const seconds = this.answerMs / 1000;
    return this.link === undefined
      ? new BridgeError(
          'NO_LINK',
          `${spec}: no link to a host agent that takes claims for ${seconds} s: is portferry host-agent running on the host?`,
        )
      : new BridgeError('TIMEOUT', `${spec}: the host agent did not answer within ${seconds} s`);
  }
}
