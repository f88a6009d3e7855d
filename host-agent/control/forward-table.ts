/**
 * The one table of claims. Every door (9P tree, API, claims of the shim) makes and drops claims here and nowhere else; a
 * claim holds exactly one forward. It knows no sockets: `open` makes forwards.
 */
import { BridgeError, messageOf } from '../../shared/errors.ts';
import { formatEndpoint, isLoopback } from '../../shared/ip.ts';
import { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import { formatSpec, hostEnd, type PortSpec, withOptions } from '../../shared/port-spec.ts';
import { endpointCount, isChoice, sharedEndpoint } from '../../shared/ports/endpoints.ts';
import type { Forward } from '../data/forward.ts';
import { explainRefusal } from './conflict.ts';
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
  readonly spec: PortSpec;
  /** It is one of many tries: what it fails of is not logged, and not looked into. */
  readonly quiet?: boolean;
  /** Told when the claim is dropped, by whomever; not when the host agent stops. @param why if it was not asked for */
  readonly onReleased?: (why?: BridgeError) => void;
}

export interface Claim {
  readonly owner: string;
  readonly lease: Lease;
  readonly vm: string;
  /** With the host port resolved. */
  readonly spec: PortSpec;
  readonly since: Date;
  /** How it waits for its container, where it does. */
  state(): string | undefined;
  stats(): Record<string, number>;
}

type OpenForward = (vm: string, spec: PortSpec) => Promise<{ resolved: PortSpec; forward: Forward }>;
type Entry = Claim & {
  readonly forward: Forward;
  /** What was asked for; the policy may have made something else of it. */
  readonly asked: PortSpec;
  readonly onReleased?: (why?: BridgeError) => void;
};

export class ForwardTable {
  private readonly entries = new Set<Entry>();
  private readonly open: OpenForward;
  private readonly limit: Limit;
  private readonly ports: Limit;
  private readonly log: Logger;
  /** Forwards of each VM, with those that are being opened. */
  private readonly counts = new Map<string, number>();
  private policy: Policy;
  private closed = false;

  constructor(open: OpenForward, log: Logger, policy = new Policy()) {
    this.open = open;
    this.log = log;
    this.policy = policy;
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
    let opened: Awaited<ReturnType<OpenForward>>;
    const { policy } = this;
    this.count(request.vm, 1);
    try {
      policy.checkCount(request.vm, this.counts.get(request.vm)! - 1);
      const admitted = await policy.admit(request.vm, request.spec);
      this.refuseTaken({ ...request, spec: admitted });
      opened = await openFreePort(admitted, policy.freePorts(request.vm), (spec) =>
        this.open(request.vm, spec),
      ).catch((error) => this.unboundTwin(request, admitted, error));
    } catch (error) {
      this.giveBack(request.vm, request.spec);
      throw request.quiet === true ? error : await this.refused(request, error);
    }
    const { resolved, forward } = opened;
    const entry: Entry = {
      ...request,
      spec: resolved,
      asked: request.spec,
      forward,
      since: new Date(),
      state: () => forward.state,
      stats: () => forward.stats(),
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
    await this.release(entry, { now: true });
    throw refused;
  }

  /** From now on another policy holds. What it does not allow goes, with its connections. */
  async enforce(policy: Policy): Promise<void> {
    this.policy = policy;
    await Promise.all(
      [...this.entries].map(async (entry) => {
        const refused = await this.policy.refusal(entry.vm, entry.spec);
        if (refused === undefined || this.policy !== policy || !this.entries.has(entry)) return;
        const { owner, vm, spec } = entry;
        this.log.warn(
          { owner, vm, spec: formatSpec(spec), code: refused.code },
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
    this.log.info({ owner: entry.owner, vm: entry.vm, spec: formatSpec(entry.spec) }, 'unexposed');
    if (!this.closed) entry.onReleased?.(options.why);
    await entry.forward.close({ now: options.now });
  }

  list(): Claim[] {
    return [...this.entries];
  }

  /**
   * The claims of a resolved spec, of one VM or of any. A spec without options finds those with any; the host addresses
   * may be those that were asked for.
   */
  find(spec: PortSpec, vm?: string): Claim[] {
    const wanted = formatSpec(spec);
    const nameOf = spec.options === undefined ? endsOf : formatSpec;
    return [...this.entries].filter(
      (entry) =>
        (vm === undefined || entry.vm === vm) &&
        (nameOf(entry.spec) === wanted || nameOf(withAskedAddresses(entry)) === wanted),
    );
  }

  /** Releases everything and takes no more. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.list().map((claim) => this.release(claim, { now: true })));
  }

  /** Says by what a port is taken, and refuses it also while a forward that waits for its container does not hold it. */
  private refuseTaken({ vm, spec }: ClaimRequest): void {
    for (const other of this.entries) {
      const clash = clashOf(spec, other.spec);
      if (clash === undefined) continue;
      const [wanted, is] = [formatSpec(spec), formatSpec(other.spec)];
      if (other.vm === vm && wanted !== is && endsOf(other.spec) === endsOf(spec))
        throw new BridgeError(
          'PORT_IN_USE',
          `${wanted}: it is published with other options already, as ${is}: unexpose that first`,
        );
      if (other.state() !== undefined)
        throw new BridgeError(
          'PORT_IN_USE',
          `Bind for ${clash} failed: port is already allocated: VM "${other.vm}" has it (published by ${other.owner})`,
        );
    }
  }

  /**
   * docker asks for `::` beside `0.0.0.0`, and fails the whole container when one is refused. On a host
   * without IPv6 the second is therefore granted and marked as not bound.
   */
  private unboundTwin(
    { vm, spec }: ClaimRequest,
    resolved: PortSpec,
    error: unknown,
  ): { resolved: PortSpec; forward: Forward } {
    const missing = error instanceof BridgeError && error.code === 'ADDRESS_NOT_AVAILABLE';
    if (!missing || spec.protocol === 'unix' || spec.hostIps.some((ip) => ip !== '::')) throw error;
    if (this.find({ ...spec, hostIps: ['0.0.0.0'] }, vm).length === 0) throw error;
    this.log.warn({ vm, spec: formatSpec(resolved) }, 'granted but not bound: this host has no IPv6');
    return { resolved, forward: { close: async () => {}, stats: () => ({ not_bound: 1 }) } };
  }

  /** Says why, in the log and to whom asked. */
  private async refused({ owner, vm, spec }: ClaimRequest, error: unknown): Promise<unknown> {
    const explained = await explainRefusal(error, this.entries);
    this.log.warn({ owner, vm, spec: formatSpec(spec) }, `not exposed: ${messageOf(explained)}`);
    return explained;
  }

  private giveBack(vm: string, spec: PortSpec): void {
    this.limit.give();
    this.ports.give(portsOf(spec));
    this.count(vm, -1);
  }

  private count(vm: string, change: number): void {
    this.counts.set(vm, (this.counts.get(vm) ?? 0) + change);
  }

  private logExposed({ owner, vm, spec }: Entry): void {
    const fields = { owner, vm, spec: formatSpec(spec) };
    const reachable = spec.protocol === 'unix' ? [] : spec.hostIps.filter((ip) => !isLoopback(ip));
    if (reachable.length === 0) this.log.info(fields, 'exposed');
    else this.log.warn(fields, `exposed, and reachable from the network on ${reachable.join(' and ')}`);
  }
}

/** As somebody may name it who does not know that the policy gave it other addresses. */
function withAskedAddresses({ asked, spec }: Entry): PortSpec {
  return asked.protocol === 'unix' || spec.protocol === 'unix' ? spec : { ...spec, hostIps: asked.hostIps };
}

/** How many host ports a spec takes, whichever they are. */
function portsOf(spec: PortSpec): number {
  return spec.protocol === 'unix' ? 0 : endpointCount(spec);
}

/** What both would have to have on the host, for people; undefined where they can be side by side. */
function clashOf(wanted: PortSpec, other: PortSpec): string | undefined {
  if (wanted.protocol === 'unix' || other.protocol === 'unix')
    return hostEnd(wanted) === hostEnd(other) ? hostEnd(wanted) : undefined;
  const clash = isChoice(wanted) ? undefined : sharedEndpoint(wanted, other);
  return clash === undefined ? undefined : formatEndpoint(clash.ip, clash.port);
}

/** The name of a forward without its options. */
function endsOf(spec: PortSpec): string {
  return formatSpec(withOptions(spec, undefined));
}
