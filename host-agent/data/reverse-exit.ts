/**
 * The host's end of one reverse forward: each channel that the shim opens for a client in the VM is joined to a
 * connection to the service of the host that it is for.
 */
import { BridgeError } from '../../shared/errors.ts';
import { giveAll, Limit, takeAll } from '../../shared/limit.ts';
import type { LinkedSocket, OpenedChannel } from '../../shared/link/linked-socket.ts';
import { SharedCounters } from '../../shared/link/shared-counters.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Place } from '../../shared/reverse-spec.ts';
import { dialDestination } from '../../shared/transport/dial-destination.ts';
import type { DataLimits } from './forward.ts';

export interface ReverseExitOptions {
  /** Of the forward, for logs. */
  readonly name: string;
  /** What is to be dialled now. @throws BridgeError POLICY_DENIED when that is no longer allowed */
  readonly service: () => Place;
  readonly limits: DataLimits;
  readonly log: Logger;
}

export class ReverseExit {
  private readonly options: ReverseExitOptions;
  private readonly limit: Limit;
  private readonly limits: readonly Limit[];
  private readonly connections = new Set<LinkedSocket>();
  private readonly counters = new SharedCounters();
  private accepted = 0;
  private dialFailures = 0;
  private resets = 0;
  private refused = 0;

  constructor(options: ReverseExitOptions) {
    const { limits, log, name } = options;
    this.options = options;
    this.limit = new Limit(`connections of ${name}`, limits.connectionsPerForward, log);
    this.limits = [this.limit, limits.connectionsOfVm, limits.connections];
  }

  /** Carries a channel to the service until both are over. */
  serve(channel: OpenedChannel): void {
    const { name, limits, log } = this.options;
    const { client } = channel.details;
    this.accepted++;
    const dial = new AbortController();
    const counted = limits.newConnections.take() && takeAll(this.limits);
    const connection = channel.link({
      counters: this.counters,
      pace: limits.pace,
      closed: (error) => {
        dial.abort();
        this.connections.delete(connection);
        if (counted) giveAll(this.limits);
        if (error === undefined) return;
        this.resets++;
        log.debug({ forward: name, client, code: error.code }, `connection ended: ${error.message}`);
      },
    });
    this.connections.add(connection);
    if (!counted) {
      this.refused++;
      connection.dialFailed(new BridgeError('LIMIT_REACHED', `${name} may have no more connections`));
      return;
    }
    this.dial(dial.signal).then(
      (socket) => connection.dialled(socket),
      (error: BridgeError) => {
        if (error.code !== 'CANCELLED') {
          this.dialFailures++;
          log.info({ forward: name, client, code: error.code }, `a client was reset: ${error.message}`);
        }
        connection.dialFailed(error);
      },
    );
  }

  /** Ends the connections that run. */
  stop(): void {
    const reason = new BridgeError('CANCELLED', `${this.options.name} was unexposed`);
    for (const connection of [...this.connections]) connection.stop(reason);
  }

  stats(): Record<string, number> {
    return {
      connections: this.accepted,
      active: this.connections.size,
      bytes_up: this.counters.bytesUp,
      bytes_down: this.counters.bytesDown,
      dial_failures: this.dialFailures,
      resets: this.resets,
      refused_by_limit: this.refused,
    };
  }

  private async dial(signal: AbortSignal): ReturnType<typeof dialDestination> {
    return dialDestination(this.options.service(), signal);
  }
}
