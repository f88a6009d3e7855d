/**
 * The one table of claims. Every door (9P tree, API, claims of the shim) makes and drops claims here and nowhere else; a
 * claim holds exactly one forward. It knows no sockets: `open` makes forwards.
 */
import { BridgeError, type HostPlace, messageOf } from '../../shared/errors.ts';
import { isLoopback } from '../../shared/ip.ts';
import { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import { hostEnd, type InetSpec, type PortSpec, withOptions } from '../../shared/port-spec.ts';
import { endpointCount, isChoice, sharedEndpoint } from '../../shared/ports/endpoints.ts';
import { describePlace, type ReverseSpec } from '../../shared/reverse-spec.ts';
import type { Forward } from '../data/forward.ts';
import { explainRefusal, textOf } from './conflict.ts';
import { type ForwardSpec, formatForward } from './forward-spec.ts';
import { openFreePort } from './free-port.ts';
import { Policy } from './policy.ts';

/** Forwards at once, of all VMs. */
export const MAX_FORWARDS = 4_096;
/** Host ports that they have at once; a port at two addresses is two. */
export const MAX_HOST_PORTS = 8_192;

/** What keeps a claim alive: a held `ctl`, the link of a shim instance, or nothing (it is permanent). */
export type Lease = 'ctl' | 'link' | 'permanent';

export interface ClaimRequest {
  /** Who asks, e.g. `api`, `9p:default:3` or `shim:default`. */
  readonly owner: string;
  readonly lease: Lease;
  readonly vm: string;
  readonly spec: ForwardSpec;
  /** It is one of many tries: what it fails of is not logged, and not looked into. */
  readonly quiet?: boolean;
  /** Told when the claim is dropped, by whomever; not when the host agent stops. @param why if it was not asked for */
  readonly onReleased?: (why?: BridgeError) => void;
  /** Told when `state` of the claim is another one. */
  readonly onState?: () => void;
}

export interface Claim {
  readonly owner: string;
  readonly lease: Lease;
  readonly vm: string;
  /** With the host port resolved. */
  readonly spec: ForwardSpec;
  readonly since: Date;
  /** How it waits for its container, where it does. */
  state(): string | undefined;
  stats(): Record<string, number>;
}

type Open<Spec> = (vm: string, spec: Spec, onState?: () => void) => Promise<Opened<Spec>>;
interface Opened<Spec> {
  readonly resolved: Spec;
  readonly forward: Forward;
}
type Entry = Claim & {
  readonly forward: Forward;
  /** What was asked for; the policy may have made something else of it. */
  readonly asked: ForwardSpec;
  readonly onReleased?: (why?: BridgeError) => void;
};

export class ForwardTable {
  private readonly entries = new Set<Entry>();
  private readonly open: Open<PortSpec>;
  private readonly openReverse: Open<ReverseSpec> | undefined;
  private readonly limit: Limit;
  private readonly ports: Limit;
  private readonly log: Logger;
  /** Forwards of each VM, with those that are being opened. */
  private readonly counts = new Map<string, number>();
  private closed = false;
  private current: Policy;

  constructor(open: Open<PortSpec>, log: Logger, policy = new Policy(), openReverse?: Open<ReverseSpec>) {
    this.open = open;
    this.openReverse = openReverse;
    this.log = log;
    this.current = policy;
    this.limit = new Limit('forwards', MAX_FORWARDS, log);
    this.ports = new Limit('host ports', MAX_HOST_PORTS, log);
  }

  /**
   * Makes a forward and records who wants it.
   * @throws BridgeError as opening the host port does; POLICY_DENIED, LIMIT_REACHED; nothing is held then
   */
  async claim(request: ClaimRequest): Promise<Claim> {
    if (this.closed) throw new BridgeError('CANCELLED', 'the host agent is stopping');
    if (!this.limit.take())
      throw new BridgeError(
        'LIMIT_REACHED',
        `there are ${MAX_FORWARDS} forwards already, the most there may be`,
      );
    const { ports } = this;
    const wanted = portsOf(request.spec);
    if (!ports.take(wanted)) {
      this.limit.give();
      throw new BridgeError(
        'LIMIT_REACHED',
        `host ports: ${ports.used} of at most ${ports.max} are taken, ${wanted} more cannot be had`,
      );
    }
    let opened: Opened<ForwardSpec>;
    const { policy } = this;
    this.count(request.vm, 1);
    try {
      policy.checkCount(request.vm, this.counts.get(request.vm)! - 1);
      opened = await this.openAdmitted(policy, request);
    } catch (error) {
      this.giveBack(request.vm, request.spec);
      throw request.quiet === true ? error : await this.refused(request, error);
    }
    const { resolved, forward } = opened;
    const entry: Entry = {
      asked: request.spec,
      forward,
      since: new Date(),
      state: () => forward.state,
      stats: () => forward.stats(),
      ...request,
      spec: resolved,
    };
    this.entries.add(entry);
    this.logExposed(entry);
    if (this.closed) {
      await this.release(entry);
      throw new BridgeError('CANCELLED', 'the host agent is stopping');
    }
    if (this.policy === policy) return entry;
    const refused = await this.policy.refusal(entry.vm, entry.spec);
    if (refused === undefined) return entry;
    await this.release(entry, { now: true, why: refused });
    throw refused;
  }

  private async openAdmitted(
    policy: Policy,
    { vm, spec, onState }: ClaimRequest,
  ): Promise<Opened<ForwardSpec>> {
    if (spec.protocol === 'reverse') {
      policy.admitService(vm, spec.host);
      if (this.openReverse === undefined)
        throw new BridgeError('UNSUPPORTED', 'no reverse forwards are made here');
      return this.openReverse(vm, spec);
    }
    const admitted = await policy.admit(vm, spec);
    this.refuseTaken(vm, admitted);
    const open = (spec: PortSpec) => this.open(vm, spec, onState);
    return openFreePort(admitted, policy.freePorts(vm), open).catch((error) =>
      this.unboundTwin(vm, spec, admitted, error),
    );
  }

  /** From now on another policy holds. What it does not allow goes, with its connections. */
  async enforce(policy: Policy): Promise<void> {
    this.current = policy;
    await Promise.all(
      [...this.entries].map(async (entry) => {
        const refused = await this.policy.refusal(entry.vm, entry.spec);
        if (refused === undefined || this.policy !== policy || !this.entries.has(entry)) return;
        const { owner, vm, spec } = entry;
        this.log.warn(
          { owner, vm, spec: formatForward(spec), code: refused.code },
          `no longer allowed, and ended: ${refused.message}`,
        );
        await this.release(entry, { now: true, why: refused });
      }),
    );
  }

  /**
   * Drops a claim: its listener closes at once. A second call does nothing.
   * @param options.now also ends the connections that run; else they finish
   * @param options.why for its owner, where nobody asked for it
   */
  async release(claim: Claim, options: { now: boolean; why?: BridgeError } = { now: false }): Promise<void> {
    const entry = claim as Entry;
    if (!this.entries.delete(entry)) return;
    this.giveBack(entry.vm, entry.asked);
    this.log.info({ owner: entry.owner, vm: entry.vm, spec: formatForward(entry.spec) }, 'unexposed');
    if (!this.closed) entry.onReleased?.(options.why);
    await entry.forward.close({ now: options.now });
  }

  /** The policy that holds now. */
  get policy(): Policy {
    return this.current;
  }

  list(): Claim[] {
    return [...this.entries];
  }

  /**
   * The claims of a resolved spec, of one VM or of any. A spec without options finds those with any; the host addresses
   * may be those that were asked for.
   */
  find(spec: ForwardSpec, vm?: string): Claim[] {
    const wanted = formatForward(spec);
    const nameOf = spec.protocol !== 'reverse' && spec.options === undefined ? endsOf : formatForward;
    return [...this.entries].filter(
      (entry) =>
        (vm === undefined || entry.vm === vm) &&
        (nameOf(entry.spec) === wanted || nameOf(withAskedAddresses(entry)) === wanted),
    );
  }

  /** The host agent stops: who asks for a forward is refused, who still waits for one too. The rest stays until `close`. */
  takeNoMore(): void {
    this.closed = true;
  }

  /** Releases everything and takes no more. */
  async close(): Promise<void> {
    this.takeNoMore();
    await Promise.all(this.list().map((claim) => this.release(claim, { now: true })));
  }

  /** Says under which options a port is taken, and refuses it also while a forward that waits for its container does not hold it. */
  private refuseTaken(vm: string, spec: PortSpec): void {
    for (const other of this.entries) {
      const place = clashOf(spec, other.spec);
      if (place === undefined) continue;
      const [wanted, is] = [formatForward(spec), formatForward(other.spec)];
      if (other.vm === vm && wanted !== is && endsOf(other.spec) === endsOf(spec))
        throw new BridgeError(
          'PORT_IN_USE',
          `${wanted}: it is published with other options already, as ${is}: unexpose that first`,
        );
      if (other.state() !== undefined)
        throw new BridgeError('PORT_IN_USE', `Bind for ${textOf(place)} failed: port is already allocated`, {
          place,
        });
    }
  }

  /**
   * docker asks for `::` beside `0.0.0.0`, and fails the whole container when one is refused. On a host
   * without IPv6 the second is therefore granted and marked as not bound.
   */
  private unboundTwin(vm: string, spec: PortSpec, resolved: PortSpec, error: unknown): Opened<PortSpec> {
    const missing = error instanceof BridgeError && error.code === 'ADDRESS_NOT_AVAILABLE';
    if (!missing || !isInet(spec) || spec.hostIps.some((ip) => ip !== '::')) throw error;
    if (this.find({ ...spec, hostIps: ['0.0.0.0'] }, vm).length === 0) throw error;
    this.log.warn({ vm, spec: formatForward(resolved) }, 'granted but not bound: this host has no IPv6');
    return { resolved, forward: { close: async () => {}, stats: () => ({ not_bound: 1 }) } };
  }

  /** Says why, in the log and to whom asked; that the host agent stops is logged already. */
  private async refused({ owner, vm, spec }: ClaimRequest, error: unknown): Promise<unknown> {
    const explained = await explainRefusal(error, this.entries);
    if (!this.closed)
      this.log.warn({ owner, vm, spec: formatForward(spec) }, `not exposed: ${messageOf(explained)}`);
    return explained;
  }

  private giveBack(vm: string, spec: ForwardSpec): void {
    this.limit.give();
    this.ports.give(portsOf(spec));
    this.count(vm, -1);
  }

  private count(vm: string, change: number): void {
    this.counts.set(vm, (this.counts.get(vm) ?? 0) + change);
  }

  private logExposed({ owner, vm, spec }: Entry): void {
    const fields = { owner, vm, spec: formatForward(spec) };
    if (spec.protocol === 'reverse') {
      this.log.info(fields, `${describePlace(spec.host)} of the host is published in the VM`);
      return;
    }
    const reachable = isInet(spec) ? spec.hostIps.filter((ip) => !isLoopback(ip)) : [];
    if (reachable.length === 0) this.log.info(fields, 'exposed');
    else this.log.warn(fields, `exposed, and reachable from the network on ${reachable.join(' and ')}`);
  }
}

/** As somebody may name it who does not know that the policy gave it other addresses. */
function withAskedAddresses({ asked, spec }: Entry): ForwardSpec {
  return isInet(asked) && isInet(spec) ? { ...spec, hostIps: asked.hostIps } : spec;
}

/** How many host ports a spec takes, whichever they are. */
function portsOf(spec: ForwardSpec): number {
  return isInet(spec) ? endpointCount(spec) : 0;
}

function isInet(spec: ForwardSpec): spec is InetSpec {
  return spec.protocol === 'tcp' || spec.protocol === 'udp';
}

/** What the first wants and cannot have beside the other; undefined where they can be side by side. */
function clashOf(wanted: PortSpec, other: ForwardSpec): HostPlace | undefined {
  if (other.protocol === 'reverse') return undefined;
  if (wanted.protocol === 'unix' || other.protocol === 'unix') {
    const path = hostEnd(wanted);
    return path === hostEnd(other) ? { protocol: 'unix', path } : undefined;
  }
  const clash = isChoice(wanted) ? undefined : sharedEndpoint(wanted, other);
  return clash === undefined ? undefined : { protocol: wanted.protocol, ...clash };
}

/** The name of a forward without its options. */
function endsOf(spec: ForwardSpec): string {
  return formatForward(spec.protocol === 'reverse' ? spec : withOptions(spec, undefined));
}
