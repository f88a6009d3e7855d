/**
 * Forwards made through the API: nothing but a removal ends them. They are kept in a state file where there is one, made
 * anew from it when the host agent starts, and tried again for as long as their port cannot be had.
 */
import { BridgeError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import { isReverse } from '../../shared/reverse-spec.ts';
import { type ForwardSpec, formatForward, parseForward } from './forward-spec.ts';
import { type Claim, type ForwardTable, MAX_FORWARDS } from './forward-table.ts';
import type { StateFile } from './state/state-file.ts';
import type { SavedForward } from './state/state-format.ts';

/** Who they belong to, in lists and logs. */
export const OWNER = 'api';
/** What could not be published is tried again after this, milliseconds. */
const RETRY_MS = 5_000;
/** Every so many tries it is looked for anew who has the port: that costs more than a try. */
const LOOK_EVERY = 12;
/** At the start it is looked for so many only, so that many that fail do not delay it. */
const LOOKS_AT_START = 8;

export interface PermanentForwardsOptions {
  readonly table: Pick<ForwardTable, 'claim' | 'release'>;
  /** Without one they end with the host agent. */
  readonly state: Pick<StateFile, 'found' | 'save'> | undefined;
  /** The VMs that this host agent has. */
  readonly vms: readonly string[];
  readonly log: Logger;
  readonly retryMs?: number;
}

/** One that is wanted and not published now. */
export interface FailedForward extends SavedForward {
  /** Since when it has not been published. */
  readonly since: Date;
  readonly code: ErrorCode;
  readonly message: string;
}

class Wanted {
  /** With its port resolved as soon as it has one. */
  spec: string;
  readonly vm: string;
  claim: Claim | undefined;
  failure: BridgeError | undefined;
  failedSince = new Date();
  tries = 0;
  attempt: Promise<void> | undefined;

  constructor({ spec, vm }: SavedForward) {
    this.spec = spec;
    this.vm = vm;
  }
}

export class PermanentForwards {
  private readonly options: PermanentForwardsOptions;
  private readonly wanted = new Set<Wanted>();
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(options: PermanentForwardsOptions) {
    this.options = options;
  }

  /** Makes those of the state file, in its order; what fails is tried again later. Call it once, before all else. */
  async restore(): Promise<void> {
    const { state, log } = this.options;
    if (state === undefined || state.found.length === 0) return;
    for (const each of state.found) {
      const wanted = new Wanted(each);
      const failures = [...this.wanted].filter(({ failure }) => failure !== undefined).length;
      this.wanted.add(wanted);
      if (failures >= LOOKS_AT_START) wanted.tries = 1;
      const tried = this.try(wanted);
      if (!isReverse(wanted.spec)) await tried; // that one waits for the link, which comes behind this
    }
    const waiting = [...this.wanted].filter(({ attempt }) => attempt !== undefined).length;
    const failed = this.failed().length - waiting;
    const restored = this.wanted.size - failed - waiting;
    log.info({ restored, failed, waiting }, 'permanent forwards of the state file');
  }

  /**
   * Publishes one and keeps it from then on. One that is kept already and failed is tried at once.
   * @throws BridgeError as the table does; IO when it cannot be written down, and then it is not published
   */
  async expose(vm: string, spec: ForwardSpec): Promise<Claim> {
    const name = formatForward(spec);
    const known = [...this.wanted].find(
      (each) => each.claim === undefined && each.spec === name && each.vm === vm,
    );
    if (known !== undefined) {
      known.tries = 0;
      await this.try(known);
      if (known.claim !== undefined) return known.claim;
      throw known.failure ?? new BridgeError('CANCELLED', `${known.spec} was removed`);
    }
    if (this.wanted.size >= MAX_FORWARDS)
      throw new BridgeError(
        'LIMIT_REACHED',
        `there are ${MAX_FORWARDS} permanent forwards already, the most there may be`,
      );
    const wanted = new Wanted({ spec: name, vm });
    wanted.claim = await this.claim(wanted, spec, false);
    wanted.spec = formatForward(wanted.claim.spec);
    this.wanted.add(wanted);
    const { claim } = wanted;
    try {
      await this.save();
    } catch (error) {
      this.wanted.delete(wanted);
      this.saveAgain();
      await this.options.table.release(claim, { now: true });
      throw error;
    }
    return claim;
  }

  /**
   * Forgets some, so that they do not come back: those that hold one of `claims`, which are the caller's to release, and
   * of those that are not published the ones of this name.
   * @param name a full notation; without options it finds those with any
   * @returns those that were not published
   * @throws BridgeError IO when that cannot be written down; nothing has changed then
   */
  async forget(claims: readonly Claim[], name: string, vm?: string): Promise<FailedForward[]> {
    const isMeant = (each: Wanted): boolean =>
      each.claim === undefined ? hasName(each, name, vm) : claims.includes(each.claim);
    const found = [...this.wanted].filter(isMeant);
    const failed = found.filter((each) => each.claim === undefined).map(view);
    if (found.length === 0) return [];
    for (const each of found) this.wanted.delete(each);
    try {
      await this.save();
    } catch (error) {
      for (const each of found) this.wanted.add(each);
      this.saveAgain();
      this.schedule();
      throw error;
    }
    for (const { spec, vm } of failed) this.options.log.info({ spec, vm, owner: OWNER }, 'forgotten');
    return failed;
  }

  /** Those that are wanted and not published. */
  failed(): FailedForward[] {
    return [...this.wanted].filter(({ claim }) => claim === undefined).map(view);
  }

  /** Tries no more. Claims are the table's to release; what is kept stays in the state file. */
  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private save(): Promise<void> {
    const forwards = [...this.wanted].map(({ spec, vm }) => ({ spec, vm }));
    return this.options.state?.save(forwards) ?? Promise.resolve();
  }

  /** What could not be written was taken back; a later write, begun before that, may have written it all the same. */
  private saveAgain(): void {
    this.save().catch(() => undefined); // the next change tries it again
  }

  private claim(wanted: Wanted, spec: ForwardSpec, quiet: boolean): Promise<Claim> {
    return this.options.table.claim({
      owner: OWNER,
      lease: 'permanent',
      vm: wanted.vm,
      spec,
      quiet,
      onReleased: (why) => this.lost(wanted, why),
    });
  }

  /** Somebody else has released it, such as a policy that does not allow it any more. */
  private lost(wanted: Wanted, why = new BridgeError('CANCELLED', 'the host agent has ended it')): void {
    wanted.claim = undefined;
    if (!this.wanted.has(wanted) || this.closed) return;
    this.fail(wanted, why);
  }

  private try(wanted: Wanted): Promise<void> {
    wanted.attempt ??= this.attempt(wanted).finally(() => {
      wanted.attempt = undefined;
    });
    return wanted.attempt;
  }

  private async attempt(wanted: Wanted): Promise<void> {
    const { vms, table, log } = this.options;
    const { vm } = wanted;
    const quiet = wanted.tries++ % LOOK_EVERY !== 0;
    try {
      if (!vms.includes(vm))
        throw new BridgeError('NOT_FOUND', `this host agent has no VM "${vm}"; it has ${vms.join(', ')}`);
      const claim = await this.claim(wanted, parseForward(wanted.spec), quiet);
      if (!this.wanted.has(wanted) || this.closed) {
        await table.release(claim, { now: true });
        return;
      }
      if (wanted.failure !== undefined)
        log.info(
          { spec: wanted.spec, vm },
          `published after all; it was not because ${wanted.failure.message}`,
        );
      wanted.claim = claim;
      wanted.failure = undefined;
    } catch (error) {
      this.fail(wanted, error instanceof BridgeError ? error : new BridgeError('IO', messageOf(error)));
    }
  }

  private fail(wanted: Wanted, error: BridgeError): void {
    const { log, retryMs = RETRY_MS } = this.options;
    const first = wanted.failure === undefined;
    if (first) wanted.failedSince = new Date();
    // A quiet try does not look for who has the port: what the last look found is worth more.
    const looked = wanted.tries % LOOK_EVERY === 1;
    if (wanted.failure?.code !== error.code || looked) wanted.failure = error;
    const { spec, vm } = wanted;
    if (first && !this.closed)
      log.warn(
        { spec, vm, code: error.code },
        `not published: ${error.message}; tried again every ${retryMs / 1000} s`,
      );
    this.schedule();
  }

  private schedule(): void {
    if (this.closed || this.timer !== undefined) return;
    const again = async (): Promise<void> => {
      await this.retry();
      this.timer = undefined;
      if (this.failed().length > 0) this.schedule();
    };
    this.timer = setTimeout(() => void again(), this.options.retryMs ?? RETRY_MS).unref();
  }

  /** One after the other, so that many of them do not crowd out requests. */
  private async retry(): Promise<void> {
    for (const wanted of [...this.wanted]) {
      if (this.closed) return;
      if (wanted.claim !== undefined || !this.wanted.has(wanted)) continue;
      const tried = this.try(wanted);
      if (!isReverse(wanted.spec)) await tried;
    }
  }
}

function hasName({ spec, vm }: Wanted, name: string, ofVm: string | undefined): boolean {
  return (spec === name || spec.split('?')[0] === name) && (ofVm === undefined || vm === ofVm);
}

function view({ spec, vm, failedSince, failure }: Wanted): FailedForward {
  const { code, message } = failure ?? { code: 'CANCELLED' as const, message: 'it is being published' };
  return { spec, vm, since: failedSince, code, message };
}
