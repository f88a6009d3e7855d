import type { BridgeError } from '../../shared/errors.ts';
import { giveAll, type Limit, takeAll } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import type { RateLimit } from '../../shared/rate-limit.ts';
import type { RelayCounters } from '../../shared/relay/connection.ts';
import type { ClientAddress } from '../../shared/stream-details.ts';

/** What became of the connections of one forward that this thread carries: counted, logged, and held to its limits. */
export class ConnectionTally {
  private readonly name: string;
  /** Every connection counts in each. */
  private readonly limits: readonly Limit[];
  private readonly log: Logger;
  private accepted = 0;
  private dialFailures = 0;
  private resets = 0;
  private refused = 0;

  /** @param name of the forward, for logs */
  constructor(name: string, limits: readonly Limit[], log: Logger) {
    this.name = name;
    this.limits = limits;
    this.log = log;
  }

  /**
   * A client has come.
   * @param newConnections their rate; not where whoever accepts clients has looked at it already
   * @returns what it may not have more of, for people; undefined when it has its place, which `ended` gives back
   */
  begin(newConnections: RateLimit | undefined): string | undefined {
    this.accepted++;
    if (newConnections?.take() === false) return this.refuse('new connections at the moment');
    return takeAll(this.limits) ? undefined : this.refuse('connections');
  }

  /** Its dial failed, or was given up. */
  dialFailed(client: ClientAddress | undefined, { code, message }: BridgeError): void {
    if (code === 'CANCELLED') return;
    this.dialFailures++;
    this.log.info({ forward: this.name, client, code }, `a client was reset: ${message}`);
  }

  /** @param counted whether it had its place. @param error why, when it was not a clean end */
  ended(client: ClientAddress | undefined, counted: boolean, error: BridgeError | undefined): void {
    if (counted) giveAll(this.limits);
    if (error === undefined) return;
    this.resets++;
    const { code, message } = error;
    this.log.debug({ forward: this.name, client, code }, `connection ended: ${message}`);
  }

  /** @param active connections now */
  stats(active: number, { bytesUp, bytesDown }: RelayCounters): Record<string, number> {
    return {
      connections: this.accepted,
      active,
      bytes_up: bytesUp,
      bytes_down: bytesDown,
      dial_failures: this.dialFailures,
      resets: this.resets,
      refused_by_limit: this.refused,
    };
  }

  private refuse(what: string): string {
    this.refused++;
    return what;
  }
}
