import { ByteRate } from '../shared/byte-rate.ts';
import { Limit, limitCells } from '../shared/limit.ts';
import type { Logger } from '../shared/logger.ts';
import { paceByTimeout } from '../shared/pace.ts';
import { RateLimit } from '../shared/rate-limit.ts';
import type { PolicyLimits } from './control/policy-rules.ts';
import type { DataLimits } from './data/forward.ts';

/** The most there may be at once where the policy says nothing else. */
export interface AgentLimits {
  /** Of all VMs. */
  readonly connections: number;
  /** Where there are several; one alone may have all. */
  readonly connectionsPerVm: number;
  readonly connectionsPerForward: number;
  readonly flowsPerForward: number;
}

export const LIMITS: AgentLimits = {
  connections: 16_384,
  connectionsPerVm: 12_288,
  connectionsPerForward: 4_096,
  flowsPerForward: 1_024,
};

const FLOWS_PER_VM = 65_536;
const NEW_CONNECTIONS_PER_SECOND = 100_000;

export interface VmLimitsOptions {
  readonly vm: string;
  /** It is the only one. */
  readonly alone: boolean;
  readonly defaults: AgentLimits;
  /** Of all VMs. */
  readonly connections: Limit;
  readonly log: Logger;
}

/** What one VM may use. Another policy holds for what comes after it. */
export class VmLimits implements DataLimits {
  readonly connections: Limit;
  readonly connectionsOfVm: Limit;
  readonly newConnections: RateLimit;
  readonly flowsOfVm: Limit;
  readonly pace = paceByTimeout(new ByteRate());
  private readonly options: VmLimitsOptions;
  private policy: PolicyLimits;

  constructor(policy: PolicyLimits, options: VmLimitsOptions) {
    const { vm, connections, log } = options;
    this.options = options;
    this.policy = policy;
    this.connections = connections;
    const name = `VM "${vm}"`;
    this.connectionsOfVm = new Limit(`connections of ${name}`, 0, log, limitCells());
    this.newConnections = new RateLimit(`new connections of ${name}`, NEW_CONNECTIONS_PER_SECOND, log);
    this.flowsOfVm = new Limit(`UDP flows of ${name}`, 0, log, limitCells());
    this.apply(policy);
  }

  get connectionsPerForward(): number {
    return this.policy.connectionsPerForward ?? this.options.defaults.connectionsPerForward;
  }

  get flowsPerForward(): number {
    return this.policy.flowsPerForward ?? this.options.defaults.flowsPerForward;
  }

  apply(policy: PolicyLimits): void {
    const { alone, connections, defaults } = this.options;
    this.policy = policy;
    // Of several, none may use up what all have together.
    const share = Math.min(defaults.connectionsPerVm, Math.ceil(connections.max * (3 / 4)));
    this.connectionsOfVm.max = policy.connections ?? (alone ? connections.max : share);
    this.newConnections.perSecond = policy.newConnectionsPerSecond ?? NEW_CONNECTIONS_PER_SECOND;
    this.flowsOfVm.max = policy.flows ?? FLOWS_PER_VM;
    this.pace.rate.perSecond = policy.bytesPerSecond;
  }
}
