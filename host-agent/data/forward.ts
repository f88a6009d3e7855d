import type { ByteRate } from '../../shared/byte-rate.ts';
import type { Limit } from '../../shared/limit.ts';
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
  /** Bytes in both directions; shared by all forwards of the VM, on the main thread. */
  readonly bytes: ByteRate;
  /** UDP flows; shared by all forwards of the VM. */
  readonly flowsOfVm: Limit;
  readonly connectionsPerForward: number;
  readonly flowsPerForward: number;
}
