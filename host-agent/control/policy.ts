/**
 * What each VM may have on the host. The table of claims asks before a socket is opened, whoever claims, and again when
 * the policy has changed. A refusal names the rule.
 */
import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BridgeError } from '../../shared/errors.ts';
import { formatEndpoint } from '../../shared/ip.ts';
import { hostEnd, type InetSpec, type PortSpec, type UnixSpec, vmEnd } from '../../shared/port-spec.ts';
import { cidrHas } from '../../shared/rules/cidr.ts';
import { destinationAllowed } from '../../shared/rules/destination-rule.ts';
import { type PortRule, portsAllowed } from '../../shared/rules/port-rule.ts';
import { isBelow } from '../../shared/rules/unix-directory.ts';
import { NO_SETTINGS, type Settings } from '../../shared/settings/settings.ts';
import { type PolicyOptions, type PolicyRules, policyRules, type Rule } from './policy-rules.ts';

const FIRST_UNPRIVILEGED = 1_024;

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
    if (!destinationAllowed(rules.destinations.value, destinationOf(spec)))
      throw denied(vm, `${vmEnd(spec)} in the VM may not be dialled`, rules.destinations);
    return admitted;
  }

  /** Why a forward that there is would be refused now; undefined when it may stay. */
  async refusal(vm: string, spec: PortSpec): Promise<BridgeError | undefined> {
    try {
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

  /** Where a free port may be taken for who asks for any; undefined where every port will do. */
  freePorts(vm: string): readonly PortRule[] | undefined {
    const { ports, privilegedPorts } = this.of(vm);
    if (privilegedPorts.value && portsAllowed(ports.value, 1, 65_535)) return undefined;
    if (privilegedPorts.value) return ports.value;
    return ports.value
      .map(({ first, last }) => ({ first: Math.max(first, FIRST_UNPRIVILEGED), last }))
      .filter(({ first, last }) => first <= last);
  }

  private checkPort(vm: string, { hostIp, hostPort }: InetSpec): void {
    const { bind, ports, privilegedPorts } = this.of(vm);
    const where = formatEndpoint(hostIp, hostPort);
    if (!bind.value.some((cidr) => cidrHas(cidr, hostIp)))
      throw denied(vm, `${where} may not be opened`, bind);
    // A request for any free port is carried out within the rules.
    if (hostPort === 0) {
      if (this.freePorts(vm)?.length === 0) throw denied(vm, `${where} may not be opened`, ports);
      return;
    }
    if (!portsAllowed(ports.value, hostPort)) throw denied(vm, `${where} may not be opened`, ports);
    if (!privilegedPorts.value && hostPort < FIRST_UNPRIVILEGED)
      throw denied(vm, `${where} may not be opened`, privilegedPorts);
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
  if (spec.hostIp === '0.0.0.0') return { ...spec, hostIp: '127.0.0.1' };
  return spec.hostIp === '::' ? { ...spec, hostIp: '::1' } : spec;
}

function destinationOf(spec: PortSpec): Parameters<typeof destinationAllowed>[1] {
  if (spec.protocol === 'unix') return { protocol: 'unix', path: spec.vmPath };
  return { protocol: spec.protocol, ip: spec.vmIp, port: spec.vmPort };
}

function denied(vm: string, what: string, { text, from }: Rule<unknown>): BridgeError {
  return new BridgeError('POLICY_DENIED', `policy of VM "${vm}": ${what}: ${text} (${from})`);
}
