/**
 * What host agents publish in this VM: the ports of their reverse forwards. A host agent says on every new link, and after
 * every change, all that it wants; what is open and wanted stays open. They outlive a lost link for a while.
 */
import { refusalOf, type WantedClaim } from '../../shared/claim-messages.ts';
import { BridgeError, messageOf } from '../../shared/errors.ts';
import { isLoopback } from '../../shared/ip.ts';
import type { Limit } from '../../shared/limit.ts';
import type { Link } from '../../shared/link/link.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ReverseMessage } from '../../shared/reverse-messages.ts';
import { describePlace, formatReverseSpec, parseReverseSpec } from '../../shared/reverse-spec.ts';
import { Waiters } from '../../shared/waiters.ts';
import type { Stoppable } from '../data/incoming.ts';
import { ReverseEntry } from '../data/reverse-entry.ts';
import { Refusals } from './refusals.ts';

/** How long ports stay open without a link to who wants them, milliseconds. */
const GRACE_MS = 30_000;
/** How long a client waits for the link, milliseconds. */
const WAIT_MS = 5_000;

/** What is needed of a link. */
export type ReverseLink = Pick<Link, 'peer' | 'send' | 'connect'>;

export interface ReverseListenersOptions {
  readonly limit: Limit;
  readonly running: Set<Stoppable>;
  readonly log: Logger;
  readonly graceMs?: number;
  readonly waitMs?: number;
}

/** One port: open, being opened, or being looked into for why it cannot be. */
interface Held {
  id: number;
  /** The instance of the host agent that wants it. */
  owner: string;
  readonly asked: string;
  entry: ReverseEntry | undefined;
  dropped: boolean;
  /** Its clients for whom there was no link. */
  readonly clients: Waiters<ReverseLink>;
}

export class ReverseListeners {
  private readonly options: ReverseListenersOptions;
  private readonly held = new Set<Held>();
  /** By the instance of the host agent. */
  private readonly links = new Map<string, ReverseLink>();
  private readonly graces = new Map<string, NodeJS.Timeout>();
  private readonly refusals = new Refusals();
  private closed = false;
  /** Ports are opened one after the other, behind those that close for them. */
  private turn: Promise<void> = Promise.resolve();
  /** Who is in the way is looked for one after the other too, but beside it: that takes far longer than to open one. */
  private looks: Promise<void> = Promise.resolve();

  constructor(options: ReverseListenersOptions) {
    this.options = options;
  }

  linkUp(link: ReverseLink): void {
    const owner = ownerOf(link);
    clearTimeout(this.graces.get(owner));
    this.graces.delete(owner);
    this.links.set(owner, link);
    this.wakeClients();
  }

  linkDown(link: ReverseLink): void {
    const owner = ownerOf(link);
    if (this.links.get(owner) !== link) return;
    this.links.delete(owner);
    const { log, graceMs = GRACE_MS } = this.options;
    const end = (): void => {
      this.graces.delete(owner);
      const theirs = [...this.held].filter((each) => each.owner === owner);
      if (theirs.length > 0)
        log.warn({ forwards: theirs.length }, `no link for ${graceMs / 1000} s: reverse forwards end`);
      for (const each of theirs) this.drop(each);
    };
    this.graces.set(owner, setTimeout(end, graceMs).unref());
  }

  /** The host agent at the other end of a link says something. @throws BridgeError PROTOCOL, BAD_SPEC */
  take(message: ReverseMessage, link: ReverseLink): void {
    if (message.type !== 'reverse')
      throw new BridgeError('PROTOCOL', `control message "${message.type}" is not for a VM shim`);
    if (this.closed) return; // the link outlives this by what the host agent takes to release claims
    const owner = ownerOf(link);
    if (this.links.get(owner) !== link) return; // a newer one says what is wanted
    const wanted = message.forwards.map((each) => ({ ...each, spec: canonical(each.spec) }));
    const kept = new Set<Held>();
    const missing = wanted.filter((each) => {
      const found = [...this.held].find((held) => this.isSame(held, each, owner));
      if (found === undefined) return true;
      kept.add(found);
      found.id = each.id;
      found.owner = owner;
      this.grant(found);
      return false;
    });
    // Another instance of the host agent takes the place of one whose link is down.
    for (const held of [...this.held])
      if (!kept.has(held) && (held.owner === owner || !this.links.has(held.owner))) this.drop(held);
    for (const each of missing) this.add(each, owner);
    this.wakeClients();
  }

  /** Lets nobody in any more. */
  async close(): Promise<void> {
    this.closed = true;
    for (const timer of this.graces.values()) clearTimeout(timer);
    for (const held of [...this.held]) this.drop(held);
    await this.turn;
  }

  private isSame(held: Held, { id, spec }: WantedClaim, owner: string): boolean {
    if (held.owner === owner) return held.id === id && [held.asked, nameOf(held)].includes(spec);
    // Of a host agent that is gone: the port stays open when the next one wants just that.
    return !this.links.has(held.owner) && nameOf(held) === spec;
  }

  private add({ id, spec }: WantedClaim, owner: string): void {
    const held: Held = { id, owner, asked: spec, entry: undefined, dropped: false, clients: new Waiters() };
    this.held.add(held);
    this.turn = this.turn.then(() => (held.dropped ? undefined : this.open(held)));
  }

  private async open(held: Held): Promise<void> {
    const { limit, running, log } = this.options;
    const spec = parseReverseSpec(held.asked);
    try {
      const whenUp = () => this.whenUp(held);
      const entry = await ReverseEntry.open(spec, { limit, running, log, whenUp, id: () => held.id });
      if (held.dropped) return await entry.close();
      held.entry = entry;
      this.refusals.forget(held.asked);
    } catch (error) {
      const plain = error instanceof BridgeError ? error : new BridgeError('IO', messageOf(error));
      this.looks = this.looks.then(() => this.refuse(held, plain));
      return;
    }
    const { vm } = held.entry.spec;
    const fields = { spec: nameOf(held) };
    if (vm.protocol === 'unix' || isLoopback(vm.ip)) log.info(fields, 'published in this VM');
    else log.warn(fields, `published in this VM, and reachable by others at ${describePlace(vm)}`);
    this.grant(held);
  }

  private async refuse(held: Held, plain: BridgeError): Promise<void> {
    if (held.dropped) return; // while it waited for its look
    const { error, known } = await this.refusals.explain(held.asked, plain);
    this.held.delete(held);
    this.options.log[known ? 'debug' : 'warn'](
      { spec: held.asked },
      `not published in this VM: ${error.message}`,
    );
    if (!held.dropped)
      this.links.get(held.owner)?.send({ type: 'reverse-refused', ...refusalOf(held.id, error) });
  }

  private grant({ id, entry, owner }: Held): void {
    if (entry === undefined) return;
    this.links.get(owner)?.send({ type: 'reversed', id, spec: formatReverseSpec(entry.spec) });
  }

  private drop(held: Held): void {
    held.dropped = true;
    this.held.delete(held);
    held.clients.failAll(noLonger());
    const { entry } = held;
    if (entry === undefined) return;
    this.options.log.info({ spec: nameOf(held) }, 'no longer published in this VM');
    this.turn = this.turn.then(() => entry.close());
  }

  private wakeClients(): void {
    for (const { owner, clients } of this.held) {
      const link = this.links.get(owner);
      if (link !== undefined) clients.giveAll(link);
    }
  }

  /** The link of who wants it, waiting a little for one that comes back. @throws BridgeError NO_LINK or CANCELLED */
  private async whenUp(held: Held): Promise<ReverseLink> {
    if (held.dropped) throw noLonger(); // accepted just before its port was closed
    const { waitMs: ms = WAIT_MS } = this.options;
    const link = this.links.get(held.owner);
    if (link !== undefined) return link;
    const late = () => new BridgeError('NO_LINK', `no link to the host agent for ${ms / 1000} s`);
    return held.clients.wait({ ms, late });
  }
}

function noLonger(): BridgeError {
  return new BridgeError('CANCELLED', 'it is no longer published in this VM');
}

function ownerOf({ peer }: ReverseLink): string {
  return peer?.instance ?? '';
}

/** @throws BridgeError BAD_SPEC */
function canonical(text: string): string {
  return formatReverseSpec(parseReverseSpec(text));
}

function nameOf({ entry, asked }: Held): string {
  return entry === undefined ? asked : formatReverseSpec(entry.spec);
}
