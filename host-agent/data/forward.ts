import type { Limit } from '../../shared/limit.ts';
import type { Pace } from '../../shared/pace.ts';
import type { RateLimit } from '../../shared/rate-limit.ts';

/** A published port that is being served. */
export interface Forward {
  /** Stops serving new clients at once. @param now also ends the connections that run */
  close(options: { now: boolean }): Promise<void>;
  stats(): Record<string, number>;
  /** How it waits for its container, where it does. */
  readonly state?: string | undefined;
}

/** Limits of the data path. */
export interface DataLimits {
  /** Shared by all forwards of the agent. */
  readonly connections: Limit;
  /** Shared by all forwards of the VM. */
  readonly connectionsOfVm: Limit;
  /** Of new ones; shared by all forwards of the VM. */
  readonly newConnections: RateLimit;
  /** Of bytes in both directions; its rate is shared by all forwards of the VM. */
  readonly pace: Pace;
  /** UDP flows; shared by all forwards of the VM. */
  readonly flowsOfVm: Limit;
  readonly connectionsPerForward: number;
  readonly flowsPerForward: number;
}
