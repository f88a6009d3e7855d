/**
 * The two interfaces behind the /port tree. Whoever serves it decides what a claim is: the host agent binds ports, the VM
 * shim passes the wish on. The tree only keeps the claim for as long as its ctl file is held.
 */

import type { BridgeError } from '../errors.ts';

/** One wish that was granted. */
export interface PortClaim {
  /** The spec as it came out, ports 0 and ranges filled in; goes to the client after `OK `. */
  readonly resolved: string;
  /** One line about how it is doing, for the `status` file. */
  status(): string;
  /** Counters for the `stats` file, one `key value` line each. */
  stats(): Record<string, number | string>;
  /** Resolves when somebody else has ended it, with why; never where its holder has. */
  readonly ended?: Promise<BridgeError>;
  /** Ends it. May be called twice. @param options `now`: running connections are ended as well */
  release(options?: { now?: boolean }): Promise<void>;
}

export interface PortDoor {
  /**
   * Asks for one forward. A refusal is a BridgeError whose message goes to people as it is, after `ERROR `.
   * @param spec what was written to ctl, trimmed
   * @param signal aborts when nobody waits any more; a claim that resolves all the same is released
   */
  claim(spec: string, signal: AbortSignal): Promise<PortClaim>;
}
