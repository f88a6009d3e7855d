import { MAX_CLAIMS } from '../../shared/claim-messages.ts';
import type { PortRange } from '../../shared/port-range.ts';
import { type Cidr, parseCidr } from '../../shared/rules/cidr.ts';
import { type DestinationRule, parseDestinationRule } from '../../shared/rules/destination-rule.ts';
import { ALL_PORTS, parsePortRule } from '../../shared/rules/port-rule.ts';
import { checkDirectory } from '../../shared/rules/unix-directory.ts';
import type { Said, Settings } from '../../shared/settings/settings.ts';
import { POLICY_KEYS, type PolicyKey, type PUBLISH } from './policy-schema.ts';

/** A value of the policy, and how an error names it. */
export interface Rule<T> {
  readonly value: T;
  /** `ports = ["8000-8099"]`. */
  readonly text: string;
  /** The table that says it, or that it is the default. The VM hears it, so the file is not named. */
  readonly from: string;
}

/** What one VM may do. */
export interface PolicyRules {
  readonly publish: Rule<(typeof PUBLISH)[number]>;
  readonly bind: Rule<readonly Cidr[]>;
  readonly ports: Rule<readonly PortRange[]>;
  readonly privilegedPorts: Rule<boolean>;
  readonly unixDirectories: Rule<readonly string[]>;
  readonly destinations: Rule<readonly DestinationRule[]>;
  /** Services of the host that may be published in the VM. */
  readonly reverse: Rule<readonly DestinationRule[]>;
  readonly maxForwards: Rule<number>;
  readonly limits: PolicyLimits;
}

/** What is counted while connections come and go; undefined where the policy says nothing. */
export interface PolicyLimits {
  readonly connections: number | undefined;
  readonly connectionsPerForward: number | undefined;
  readonly flows: number | undefined;
  readonly flowsPerForward: number | undefined;
  readonly newConnectionsPerSecond: number | undefined;
  readonly bytesPerSecond: number | undefined;
}

const DEFAULT = 'the default';
/** Longest text of a value in a message, characters. */
const MAX_SHOWN = 200;

/** What options of the command line say instead of the file, and what else the policy has to know. */
export interface PolicyOptions {
  /** Where host ports are chosen from that the policy says nothing of. */
  readonly portRange?: PortRange;
  readonly unixDirectories?: readonly string[] | undefined;
  readonly reverse?: readonly string[] | undefined;
}

/** The rules of a VM: options, its own table, for what that does not say `[policy]`, then the defaults. */
export function policyRules(settings: Settings, vm: string, options: PolicyOptions): PolicyRules {
  const own = (key: PolicyKey): Said | undefined => settings.get('vm', vm, 'policy', key);
  const said = (key: PolicyKey): Said | undefined => own(key) ?? settings.get('policy', key);
  const rule = <T>(key: PolicyKey, unless: T, read: (value: never) => T): Rule<T> => {
    const found = said(key);
    if (found === undefined)
      return { value: unless, text: `${key} = ${POLICY_KEYS[key].unless}`, from: DEFAULT };
    const { value } = found;
    const from = own(key) === undefined ? '[policy]' : `[vm.${vm}.policy]`;
    return { value: read(value as never), text: `${key} = ${tomlOf(value)}`, from };
  };
  const texts = <T>(
    key: PolicyKey,
    unless: readonly string[],
    read: (text: string) => T,
  ): Rule<readonly T[]> => rule(key, unless.map(read), (value: readonly string[]) => value.map(read));
  const number = (key: PolicyKey): number | undefined => said(key)?.value as number | undefined;
  return {
    publish: rule<PolicyRules['publish']['value']>('publish', 'as-requested', (value) => value),
    bind: texts('bind', ['0.0.0.0/0', '::/0'], parseCidr),
    ports: rule('ports', [ALL_PORTS], (value: readonly string[]) => value.map(parsePortRule)),
    privilegedPorts: rule('privileged-ports', true, (value: boolean) => value),
    unixDirectories:
      optionRule('unix-directories', '--unix-directory', options.unixDirectories, checkDirectory) ??
      texts('unix-directories', [], checkDirectory),
    destinations: texts('destinations', ['0.0.0.0/0', '::/0', 'unix:/'], parseDestinationRule),
    reverse:
      optionRule('allow-reverse', '--allow-reverse', options.reverse, parseDestinationRule) ??
      texts('allow-reverse', [], parseDestinationRule),
    maxForwards: rule('max-forwards', MAX_CLAIMS, (value: number) => value),
    limits: {
      connections: number('max-connections'),
      connectionsPerForward: number('max-connections-per-forward'),
      flows: number('max-flows'),
      flowsPerForward: number('max-flows-per-forward'),
      newConnectionsPerSecond: number('new-connections-per-second'),
      bytesPerSecond: number('bytes-per-second'),
    },
  };
}

/** What an option says instead of the file. */
function optionRule<T>(
  key: PolicyKey,
  option: string,
  said: readonly string[] | undefined,
  read: (text: string) => T,
): Rule<readonly T[]> | undefined {
  if (said === undefined) return undefined;
  return { value: said.map(read), text: `${key} = ${tomlOf(said)}`, from: option };
}

function tomlOf(value: Said['value']): string {
  const list = typeof value === 'object';
  const text = list ? `[${value.map((each) => JSON.stringify(each)).join(', ')}]` : JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
