/**
 * One entry of /port and its request. It is pure state and time: nodes and fids are in entry-nodes.ts and ctl-file.ts.
 *
 *   waiting ──write──► claiming ──► active ──┐
 *      │                  └───────► failed ──┤ the writer's ctl closed, entry removed, tree closed
 *      └── 10 s without an open ctl ─────────┴──► gone
 *
 * What is active fails when somebody else ends it, as another policy of the host does.
 * Only one request is ever made in an entry, and only the ctl file that wrote it ends it by closing, so that others may look.
 */
import { BridgeError, messageOf, textWithCode } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { p9Error } from '../p9/error-text.ts';
import { attemptClaim, type Outcome } from './claim-attempt.ts';
import type { PortClaim, PortDoor } from './door.ts';
import { answerLine, parseRequest } from './request-text.ts';

const UNASKED = 'no request received. Please read the README.';

type State =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'claiming'; readonly spec: string }
  | { readonly kind: 'active'; readonly spec: string; readonly claim: PortClaim }
  | { readonly kind: 'failed'; readonly spec: string; readonly message: string }
  | { readonly kind: 'gone' };

export interface EntryOptions {
  readonly log: Logger;
  /** How long an entry may wait for its ctl to be opened. */
  readonly idleMs: number;
  /** How long a claim, or its release, may keep a client waiting. */
  readonly answerMs: number;
  /** The entry has left the tree. */
  onGone(): void;
  /** Nothing of it is left, not even a claim that was never answered. */
  onFinished(): void;
}

export class Entry {
  readonly name: string;
  /** When it last changed, in milliseconds since 1970. */
  since = Date.now();
  private readonly options: EntryOptions;
  private state: State = { kind: 'waiting' };
  private openCtls = 0;
  /** The ctl file that made the request. */
  private owner: object | undefined;
  private readonly cancel = new AbortController();
  /** There is an answer to the request. */
  private answered: Promise<unknown> = Promise.resolve();
  /** The door is through with the request. */
  private attempted = Promise.resolve();
  private idle: NodeJS.Timeout | undefined;
  private ending: Promise<void> | undefined;

  constructor(name: string, options: EntryOptions) {
    this.name = name;
    this.options = options;
    this.startIdleTimer();
  }

  get gone(): boolean {
    return this.state.kind === 'gone';
  }

  /** Takes over an entry that was made and left alone. False if it is in use. */
  adopt(): boolean {
    if (this.state.kind !== 'waiting' || this.openCtls > 0) return false;
    this.startIdleTimer();
    return true;
  }

  ctlOpened(): void {
    this.openCtls++;
    clearTimeout(this.idle);
  }

  /** @param ctl as given to `request` by the one that made it */
  async ctlClosed(ctl: object): Promise<void> {
    this.openCtls--;
    if (this.owner === ctl) await this.end();
    else if (this.state.kind === 'waiting' && this.openCtls === 0) this.startIdleTimer();
  }

  /**
   * Carries out the one request. Resolves when there is an answer to read, good or bad; rejects when there was a request
   * before, or when `signal` aborted.
   */
  async request(ctl: object, data: Uint8Array, door: PortDoor, signal: AbortSignal): Promise<void> {
    if (this.state.kind !== 'waiting') throw p9Error('permission denied');
    this.owner = ctl;
    const request = parseRequest(data);
    if ('wrong' in request)
      return this.change({ kind: 'failed', spec: '', message: `${request.wrong} [BAD_REQUEST]` });

    const { spec } = request;
    const onFlush = () => this.cancel.abort();
    signal.addEventListener('abort', onFlush);
    if (signal.aborted) onFlush();
    this.change({ kind: 'claiming', spec });
    const { answerMs: timeoutMs, log } = this.options;
    const attempt = attemptClaim({
      door,
      spec,
      timeoutMs,
      cancel: this.cancel.signal,
      log,
      onOutcome: (outcome) => this.decided(spec, outcome),
    });
    this.answered = attempt.outcome;
    this.attempted = attempt.finished;
    const { kind } = await attempt.outcome;
    signal.removeEventListener('abort', onFlush);
    if (kind === 'cancelled' && signal.aborted)
      throw new BridgeError('CANCELLED', 'the request was cancelled');
  }

  /** What ctl reads; waits for a request that is under way. */
  async answer(signal: AbortSignal): Promise<string> {
    if (this.state.kind === 'claiming') await orAborted(this.answered, signal);
    return this.answerNow();
  }

  /** What ctl would read at this moment; a request under way reads like none. */
  answerNow(): string {
    const { state } = this;
    if (state.kind === 'active') return answerLine('OK', state.claim.resolved);
    if (state.kind === 'failed') return answerLine('ERROR', state.message);
    return answerLine('ERROR', state.kind === 'gone' ? 'the entry was removed' : UNASKED);
  }

  status(): string {
    const { state } = this;
    const lines = [`state ${state.kind}`];
    if ('spec' in state && state.spec !== '') lines.push(`request ${state.spec}`);
    if (state.kind === 'active')
      lines.push(`resolved ${state.claim.resolved}`, `forward ${state.claim.status()}`);
    if (state.kind === 'failed') lines.push(`error ${state.message}`);
    lines.push(`since ${new Date(this.since).toISOString()}`);
    return lines.map((line) => `${line.replace(/[\r\n]+/g, ' ')}\n`).join('');
  }

  stats(): string {
    if (this.state.kind !== 'active') return '';
    const stats = Object.entries(this.state.claim.stats());
    return stats.map(([key, value]) => `${key} ${value}\n`).join('');
  }

  /** Leaves the tree at once and releases what was claimed. Waits for that, but no longer than a client may have to. */
  end(): Promise<void> {
    this.ending ??= this.release();
    return this.ending;
  }

  /** As `end`, but waits no longer once `signal` aborts: the entry is gone by then, and its claim goes on being released. */
  remove(signal: AbortSignal): Promise<void> {
    return orAborted(this.end(), signal).catch(() => {});
  }

  private async release(): Promise<void> {
    const { state } = this;
    const { log, answerMs, onGone, onFinished } = this.options;
    clearTimeout(this.idle);
    this.change({ kind: 'gone' });
    onGone();
    this.cancel.abort();
    const released = (state.kind === 'active' ? releaseClaim(state.claim) : Promise.resolve()).catch(
      (error) => {
        log.error({ err: error, entry: this.name }, `releasing a claim failed: ${messageOf(error)}`);
      },
    );
    Promise.all([released, this.attempted]).then(onFinished);
    if (await isLate(released, answerMs)) log.warn({ entry: this.name }, 'releasing a claim takes long');
  }

  /** An entry that ends cancels its attempt, so what is granted here has an entry to live in. */
  private decided(spec: string, outcome: Outcome): void {
    if (outcome.kind === 'granted') this.granted(spec, outcome.claim);
    else if (outcome.kind === 'refused') this.change({ kind: 'failed', spec, message: outcome.message });
    else if (outcome.kind === 'late') this.change({ kind: 'failed', spec, message: this.lateText(spec) });
    else if (!this.gone)
      this.change({ kind: 'failed', spec, message: `${spec}: the request was cancelled [CANCELLED]` });
  }

  private granted(spec: string, claim: PortClaim): void {
    this.change({ kind: 'active', spec, claim });
    void claim.ended?.then((why) => {
      if (this.state.kind === 'active') this.change({ kind: 'failed', spec, message: textWithCode(why) });
    });
  }

  private lateText(spec: string): string {
    return `${spec}: no answer within ${this.options.answerMs / 1000} s; the request was cancelled [TIMEOUT]`;
  }

  private change(state: State): void {
    this.state = state;
    this.since = Date.now();
  }

  private startIdleTimer(): void {
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.end(), this.options.idleMs);
    this.idle.unref();
  }
}

async function releaseClaim(claim: PortClaim): Promise<void> {
  await claim.release();
}

/** Waits for `done` for at most `ms` and says whether that was not enough. */
async function isLate(done: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(true), ms);
    timer.unref();
  });
  const result = await Promise.race([done.then(() => false), late]);
  clearTimeout(timer);
  return result;
}

/** Waits for `settled`, which never rejects, unless the one who waits is called away. */
function orAborted(settled: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new BridgeError('CANCELLED', 'waiting was cancelled'));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    settled.then(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
  });
}
