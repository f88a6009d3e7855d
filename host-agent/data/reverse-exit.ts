/**
 * The host's end of one reverse forward: each channel that the shim opens for a client in the VM is joined to a
 * connection to the service of the host that it is for.
 */
import { BridgeError } from '../../shared/errors.ts';
import { Limit } from '../../shared/limit.ts';
import type { LinkedSocket, OpenedChannel } from '../../shared/link/linked-socket.ts';
import { SharedCounters } from '../../shared/link/shared-counters.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Place } from '../../shared/reverse-spec.ts';
import { dialDestination } from '../../shared/transport/dial-destination.ts';
import { ConnectionTally } from './connection-tally.ts';
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
  private readonly tally: ConnectionTally;
  private readonly connections = new Set<LinkedSocket>();
  private readonly counters = new SharedCounters();

  constructor(options: ReverseExitOptions) {
    const { limits, log, name } = options;
    this.options = options;
    const own = new Limit(`connections of ${name}`, limits.connectionsPerForward, log);
    this.tally = new ConnectionTally(name, [own, limits.connectionsOfVm, limits.connections], log);
  }

  /** Carries a channel to the service until both are over. */
  serve(channel: OpenedChannel): void {
    const { name, limits } = this.options;
    const { tally } = this;
    const { client } = channel.details;
    const dial = new AbortController();
    const full = tally.begin(limits.newConnections);
    const connection = channel.link({
      counters: this.counters,
      pace: limits.pace,
      closed: (error) => {
        dial.abort();
        this.connections.delete(connection);
        tally.ended(client, full === undefined, error);
      },
    });
    this.connections.add(connection);
    if (full !== undefined) {
      connection.dialFailed(new BridgeError('LIMIT_REACHED', `${name} may have no more ${full}`));
      return;
    }
    this.dial(dial.signal).then(
      (socket) => connection.dialled(socket),
      (error: BridgeError) => {
        tally.dialFailed(client, error);
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
    return this.tally.stats(this.connections.size, this.counters);
  }

  private async dial(signal: AbortSignal): ReturnType<typeof dialDestination> {
    return dialDestination(this.options.service(), signal);
  }
}
