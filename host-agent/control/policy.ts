/**
 * What each VM may have on the host. The table of claims asks before a socket is opened, whoever claims, and again when
 * the policy has changed. A refusal names the rule.
 */
import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import { compareIps } from '../../shared/ip.ts';
import { type PortRange, portCount } from '../../shared/port-range.ts';
import { hostEnd, type InetSpec, type PortSpec, type UnixSpec, vmEnd } from '../../shared/port-spec.ts';
import { EPHEMERAL } from '../../shared/ports/allocator.ts';
import { describePlace, type Place } from '../../shared/reverse-spec.ts';
import { cidrHas } from '../../shared/rules/cidr.ts';
import { destinationAllowed } from '../../shared/rules/destination-rule.ts';
import { commonPorts, portsAllowed } from '../../shared/rules/port-rule.ts';
import { realDestination } from '../../shared/rules/real-destination.ts';
import { isBelow } from '../../shared/rules/unix-directory.ts';
import { NO_SETTINGS, type Settings } from '../../shared/settings/settings.ts';
import type { ForwardSpec } from './forward-spec.ts';
import { type PolicyOptions, type PolicyRules, policyRules, type Rule } from './policy-rules.ts';

const FIRST_UNPRIVILEGED = 1_024;
const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

export class Policy {
  private readonly settings: Settings;
  private readonly options: PolicyOptions;
  private readonly rules = new Map<string, PolicyRules>();

  constructor(settings: Settings = NO_SETTINGS, options: PolicyOptions = {}) {
    this.settings = settings;
    this.options = options;
  }

  of(vm: string): PolicyRules {
    let rules = this.rules.get(vm);
    if (rules === undefined) {
      rules = policyRules(this.settings, vm, this.options);
      this.rules.set(vm, rules);
    }
    return rules;
  }

  /**
   * What is to be opened for a request: the same, or on loopback where the policy says so.
   * @throws BridgeError POLICY_DENIED with the rule that refuses it; NOT_FOUND when the directory of a socket is missing
   */
  async admit(vm: string, spec: PortSpec): Promise<PortSpec> {
    const rules = this.of(vm);
    const admitted = spec.protocol === 'unix' ? spec : onLoopback(spec, rules);
    if (admitted.protocol === 'unix') await this.checkSocket(vm, admitted);
    else this.checkPort(vm, admitted);
    const { value } = rules.destinations;
    if (!destinationsOf(spec).every((destination) => destinationAllowed(value, destination)))
      throw denied(vm, `${vmEnd(spec)} in the VM may not be dialled`, rules.destinations);
    return admitted;
  }

  /**
   * What is to be dialled for a service of the host that is published in the VM: a unix socket without symbolic links.
   * @throws BridgeError POLICY_DENIED
   */
  admitService(vm: string, service: Place): Place {
    const { reverse } = this.of(vm);
    const real = realDestination(reverse.value, service);
    if (real === undefined || real.protocol === 'udp')
      throw denied(vm, `${describePlace(service)} of the host may not be published in the VM`, reverse);
    return real;
  }

  /** Why a forward that there is would be refused now; undefined when it may stay. */
  async refusal(vm: string, spec: ForwardSpec): Promise<BridgeError | undefined> {
    try {
      if (spec.protocol === 'reverse') {
        this.admitService(vm, spec.host);
        return undefined;
      }
      const admitted = await this.admit(vm, spec);
      if (hostEnd(admitted) === hostEnd(spec)) return undefined;
      return denied(vm, `${hostEnd(spec)} may not stay open`, this.of(vm).publish);
    } catch (error) {
      if (error instanceof BridgeError && error.code === 'POLICY_DENIED') return error;
      return undefined; // the directory of a socket has gone: nothing to do with what is allowed
    }
  }

  /** @param count the forwards that the VM has @throws BridgeError POLICY_DENIED */
  checkCount(vm: string, count: number): void {
    const { maxForwards } = this.of(vm);
    if (count < maxForwards.value) return;
    throw denied(vm, 'it may have no more forwards', maxForwards);
  }

  /**
   * Where free ports may be taken for who leaves the choice to us: undefined where all will do that are usually chosen
   * from, else those of them that are allowed, or where none is, what else is.
   */
  freePorts(vm: string): readonly PortRange[] | undefined {
    const { ports, privilegedPorts } = this.of(vm);
    const usual = this.options.portRange ?? EPHEMERAL;
    const least = { first: privilegedPorts.value ? 1 : FIRST_UNPRIVILEGED, last: 65_535 };
    const allowed = ports.value.flatMap((range) => commonPorts(range, least) ?? []);
    if (portsAllowed(allowed, usual)) return undefined;
    const common = allowed.flatMap((range) => commonPorts(range, usual) ?? []);
    return common.length > 0 ? common : allowed;
  }

  private checkPort(vm: string, spec: InetSpec): void {
    const { bind, ports, privilegedPorts } = this.of(vm);
    const { hostIps, hostPorts } = spec;
    const what = `${hostEnd(spec)} may not be opened`;
    for (const ip of hostIps) if (!bind.value.some((cidr) => cidrHas(cidr, ip))) throw denied(vm, what, bind);
    // A request for any free port is carried out within the rules.
    if (hostPorts.first === 0) {
      if (this.freePorts(vm)?.length === 0) throw denied(vm, what, ports);
      return;
    }
    if (!portsAllowed(ports.value, hostPorts)) throw denied(vm, what, ports);
    if (!privilegedPorts.value && hostPorts.first < FIRST_UNPRIVILEGED)
      throw denied(vm, what, privilegedPorts);
  }

  private async checkSocket(vm: string, { hostPath }: UnixSpec): Promise<void> {
    const { unixDirectories } = this.of(vm);
    const fail = (why: string): never => {
      throw denied(vm, `the unix socket ${hostPath} may not be made (${why})`, unixDirectories);
    };
    const directories = await Promise.all(
      unixDirectories.value.map(async (text) => ({
        text,
        real: await realpath(text).catch(() => undefined),
      })),
    );
    // Nothing outside is looked at: an answer would tell the VM what is there.
    const within = directories.filter(
      ({ text, real }) => isBelow(text, hostPath) || (real !== undefined && isBelow(real, hostPath)),
    );
    if (within.length === 0) return fail('it is in no directory that is allowed');
    const parent = await realpath(dirname(hostPath)).catch((error) => {
      throw new BridgeError('NOT_FOUND', `Bind for ${hostPath} failed: its directory does not exist`, {
        cause: error,
      });
    });
    const escapes = !within.some(
      ({ real }) => real !== undefined && (real === parent || isBelow(real, parent)),
    );
    if (escapes) fail('a symbolic link leads out of the directory');
  }
}

function onLoopback(spec: InetSpec, { publish }: PolicyRules): InetSpec {
  if (publish.value !== 'loopback') return spec;
  const hostIps = spec.hostIps.map((ip) => LOOPBACK[ip] ?? ip);
  return { ...spec, hostIps: [...new Set(hostIps)].sort(compareIps) };
}

/** All that would be dialled. */
function destinationsOf(spec: PortSpec): Destination[] {
  if (spec.protocol === 'unix') return [{ protocol: 'unix', path: spec.vmPath }];
  const { protocol, vmIp: ip, vmPorts } = spec;
  return Array.from({ length: portCount(vmPorts) }, (_, index) => ({
    protocol,
    ip,
    port: vmPorts.first + index,
  }));
}

function denied(vm: string, what: string, { text, from }: Rule<unknown>): BridgeError {
  return new BridgeError('POLICY_DENIED', `policy of VM "${vm}": ${what}: ${text} (${from})`);
}
