import type { Limit } from '../../shared/limit.ts';

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
  readonly connectionsPerForward: number;
  readonly flowsPerForward: number;
}
