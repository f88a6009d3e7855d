/**
 * The claims that the shim of one VM makes over its link. They belong to one instance of the shim: they stay while its
 * link is lost and comes back within a grace period, are compared with what it wants on every new link, and end when
 * another instance says hello, so that a VM that started anew is not refused by its own ghost.
 */
import { setImmediate as othersTurn } from 'node:timers/promises';
import { MAX_CLAIMS, refusal, removedOnHost, type WantedClaim } from '../../shared/claim-messages.ts';
import type { ControlMessage } from '../../shared/control-codec.ts';
import { BridgeError } from '../../shared/errors.ts';
import type { Link } from '../../shared/link/link.ts';
import type { Logger } from '../../shared/logger.ts';
import { parseSpec } from '../../shared/port-spec.ts';
import { formatForward } from './forward-spec.ts';
import type { Claim, ForwardTable } from './forward-table.ts';
import { type HeldClaim, reconcile } from './reconcile.ts';

/** How many ports are closed in a turn of the event loop: a VM that had thousands is not to keep the others waiting. */
const CLOSED_PER_TURN = 32;

/** What is needed of a link. */
export type ClaimLink = Pick<Link, 'peer' | 'has' | 'send' | 'receive'>;

export interface ShimClaimsOptions {
  readonly table: Pick<ForwardTable, 'claim' | 'release'>;
  readonly vm: string;
  readonly log: Logger;
  /** How long claims outlive the link that they were made over, milliseconds. */
  readonly graceMs: number;
}

class Held implements HeldClaim {
  readonly id: number;
  readonly asked: string;
  claim: Claim | undefined;
  dropped = false;
  /** Done when its port is open or was refused; undefined while it waits for its turn. */
  opening: Promise<void> | undefined;

  constructor({ id, spec }: WantedClaim) {
    this.id = id;
    this.asked = spec;
  }

  get resolved(): string | undefined {
    return this.claim === undefined ? undefined : formatForward(this.claim.spec);
  }
}

export class ShimClaims {
  private readonly options: ShimClaimsOptions;
  private readonly held = new Map<number, Held>();
  /** Whose ports are to be opened, one after the other: a `::` may count on the `0.0.0.0` before it. */
  private readonly waiting = new Set<Held>();
  private opening = false;
  /** Ports that are being closed: what is claimed next may want the same. */
  private readonly releasing = new Set<Promise<void>>();
  private closingTurn = Promise.resolve();
  private instance: string | undefined;
  private link: ClaimLink | undefined;
  /** What the shim wants, as far as it has said; undefined once it has said all. */
  private announced: WantedClaim[] | undefined;
  private grace: NodeJS.Timeout | undefined;

  constructor(options: ShimClaimsOptions) {
    this.options = options;
  }

  /** A link is up; it takes the place of any other. */
  linkUp(link: ClaimLink): void {
    clearTimeout(this.grace);
    const instance = link.peer?.instance;
    if (this.instance !== instance) this.dropAll(true);
    this.instance = instance;
    this.link = link.has('claims') ? link : undefined;
    this.announced = [];
    if (this.link !== undefined) link.receive((message) => this.take(link, message));
  }

  /** The link is down and no other is up. */
  linkDown(): void {
    this.link = undefined;
    clearTimeout(this.grace);
    if (this.held.size === 0) return;
    const { vm, log, graceMs } = this.options;
    this.grace = setTimeout(() => {
      const claims = this.held.size;
      log.warn({ vm, claims }, `no link for ${graceMs / 1000} s: the claims of the VM shim end`);
      this.dropAll(false);
    }, graceMs);
    this.grace.unref();
  }

  /** Forgets the shim; its claims are the table's to release. */
  close(): void {
    clearTimeout(this.grace);
    this.link = undefined;
  }

  private take(link: ClaimLink, message: ControlMessage): void {
    if (link !== this.link) return;
    if (message.type === 'claims') {
      this.announced ??= [];
      this.announced.push(...message.claims);
      if (this.announced.length > MAX_CLAIMS)
        throw new BridgeError('PROTOCOL', `the shim wants more than ${MAX_CLAIMS} forwards`);
      if (!message.more) this.reconcile(this.announced);
    } else if (message.type === 'claim' && this.announced === undefined) {
      if (this.held.has(message.id))
        throw new BridgeError('PROTOCOL', `the shim claims twice under the number ${message.id}`);
      this.add(message);
    } else if (message.type === 'unclaim' && this.announced === undefined) {
      const { id, now } = message;
      const held = this.held.get(id);
      const done = held === undefined ? Promise.resolve() : this.drop(held, now);
      void done.then(() => this.answer({ type: 'unclaimed', id }));
    } else {
      throw new BridgeError('PROTOCOL', `control message "${message.type}" at a wrong time`);
    }
  }

  private reconcile(wanted: readonly WantedClaim[]): void {
    this.announced = undefined;
    const { keep, add, drop } = reconcile(this.held.values(), wanted);
    const { vm, log } = this.options;
    const [kept, added, dropped] = [keep.length, add.length, drop.length];
    if (kept + added + dropped > 0) log.info({ vm, kept, added, dropped }, 'claims of the VM shim');
    for (const id of drop) void this.drop(this.held.get(id)!, false);
    for (const id of keep) this.grant(this.held.get(id)!);
    for (const each of add) this.add(each);
  }

  private add(wanted: WantedClaim): void {
    if (this.held.size + this.releasing.size >= MAX_CLAIMS) {
      const limit = `a VM may have ${MAX_CLAIMS} forwards at the most`;
      this.answer(refusal(wanted.id, new BridgeError('LIMIT_REACHED', limit)));
      return;
    }
    const held = new Held(wanted);
    this.held.set(held.id, held);
    this.waiting.add(held);
    if (!this.opening) void this.openWaiting();
  }

  private async openWaiting(): Promise<void> {
    this.opening = true;
    for (;;) {
      // No iterator is kept over an await: one keeps what was added and deleted behind it meanwhile.
      const [held] = this.waiting;
      if (held === undefined) break;
      this.waiting.delete(held);
      held.opening = this.open(held);
      await held.opening;
      // Opening a port may wait for nothing; a VM that claims thousands must not keep the others' connections waiting.
      await othersTurn();
    }
    this.opening = false;
  }

  private async open(held: Held): Promise<void> {
    const { table, vm } = this.options;
    await Promise.all(this.releasing);
    if (held.dropped) return;
    try {
      held.claim = await table.claim({
        owner: `shim:${vm}`,
        lease: 'link',
        vm,
        spec: parseSpec(held.asked),
        onReleased: (why) => this.ended(held, why),
        onState: () => held.dropped || this.grant(held),
      });
    } catch (error) {
      if (!held.dropped) this.held.delete(held.id);
      if (!held.dropped) this.answer(refusal(held.id, error));
      return;
    }
    if (!held.dropped) this.grant(held);
  }

  /** Says that it is published, or what else is to be said of it now; while its port is being opened that comes later. */
  private grant({ id, claim, resolved: spec }: Held): void {
    if (claim === undefined || spec === undefined) return;
    this.answer({ type: 'claimed', id, spec, note: noteOf(claim) });
  }

  /** Somebody else has removed it from the table. */
  private ended(held: Held, why?: BridgeError): void {
    if (held.dropped) return;
    held.dropped = true;
    this.held.delete(held.id);
    this.answer(refusal(held.id, why ?? removedOnHost(held.resolved ?? held.asked)));
  }

  private dropAll(now: boolean): void {
    for (const held of [...this.held.values()]) void this.drop(held, now);
  }

  private drop(held: Held, now: boolean): Promise<void> {
    held.dropped = true;
    this.held.delete(held.id);
    if (this.waiting.delete(held)) return Promise.resolve(); // it has no port
    const { table, vm, log } = this.options;
    const released = Promise.all([held.opening, this.turnToClose()])
      .then(() => (held.claim === undefined ? undefined : table.release(held.claim, { now })))
      .catch((error: Error) => log.error({ err: error, vm }, 'a forward did not close cleanly'))
      .finally(() => this.releasing.delete(released));
    this.releasing.add(released);
    return released;
  }

  private turnToClose(): Promise<void> {
    const full = this.releasing.size % CLOSED_PER_TURN === CLOSED_PER_TURN - 1;
    if (full) this.closingTurn = this.closingTurn.then(() => othersTurn());
    return this.closingTurn;
  }

  private answer(message: ControlMessage): void {
    this.link?.send(message);
  }
}

/** What is special about a claim, for people in the VM. */
function noteOf(claim: Claim): string {
  if (claim.stats().not_bound === 1) return 'not bound: the host has no IPv6';
  const state = claim.state();
  return state === undefined ? '' : `published by the host agent, ${state}`;
}
