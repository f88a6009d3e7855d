/**
 * One published TCP port or unix socket. A client is accepted, its destination dialled through the tunnel,
 * and both ends are handed to a Connection, which owns them from then on.
 */
import type { Socket } from 'node:net';
import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import { giveAll, type Limit, takeAll } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import type { StreamReservation } from '../../shared/ports/reservation.ts';
import type { ClientAddress } from '../../shared/preface.ts';
import { Connection } from '../../shared/relay/connection.ts';
import { PLAIN_SOCKET, StreamEnd } from '../../shared/relay/stream-end.ts';
import type { DataLimits, Forward } from './forward.ts';
import { type LinkSource, openTunnel } from './tunnel.ts';

export interface StreamForwardOptions {
  readonly name: string;
  readonly destination: Destination;
  readonly reservation: StreamReservation;
  readonly links: LinkSource;
  readonly limits: DataLimits;
  readonly log: Logger;
  /** Of its connections and those of other ports of the forward. */
  readonly limit: Limit;
}

export class StreamForward implements Forward {
  private readonly options: StreamForwardOptions;
  /** Every connection counts in each. */
  private readonly limits: readonly Limit[];
  private readonly connections = new Set<Connection>();
  private readonly counters = { bytesUp: 0, bytesDown: 0 };
  private accepted = 0;
  private dialFailures = 0;
  private resets = 0;
  private refused = 0;

  /** Begins to accept. */
  constructor(options: StreamForwardOptions) {
    this.options = options;
    const { limit, limits, reservation } = options;
    this.limits = [limit, limits.connectionsOfVm, limits.connections];
    reservation.start((socket) => this.serve(socket));
  }

  async close({ now }: { now: boolean }): Promise<void> {
    const closing = this.options.reservation.close();
    if (now) {
      const reason = new BridgeError('CANCELLED', `${this.options.name} was unexposed`);
      for (const connection of [...this.connections]) connection.stop(reason);
    }
    await closing;
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

  private serve(socket: Socket): void {
    const { destination, links, log, name } = this.options;
    this.accepted++;
    const client = clientOf(socket);
    const dial = new AbortController();
    const counted = takeAll(this.limits);
    const connection = new Connection(new StreamEnd(socket, PLAIN_SOCKET), {
      counters: this.counters,
      cancelDial: () => dial.abort(),
      closed: (error) => {
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
      connection.limit(new BridgeError('LIMIT_REACHED', `${name} may have no more connections`));
      return;
    }
    void this.dial(connection, destination, client, links, dial.signal);
  }

  private async dial(
    connection: Connection,
    destination: Destination,
    client: ClientAddress | undefined,
    links: LinkSource,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const active = await links.whenUp(signal);
      connection.dialled(await openTunnel(active, { destination, client, signal }));
    } catch (error) {
      const failure =
        error instanceof BridgeError ? error : new BridgeError('IO', 'internal error', { cause: error });
      if (failure.code !== 'CANCELLED') {
        this.dialFailures++;
        const { log, name } = this.options;
        log.info({ forward: name, client, code: failure.code }, `a client was reset: ${failure.message}`);
      }
      connection.dialFailed(failure);
    }
  }
}

function clientOf(socket: Socket): ClientAddress | undefined {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  return { ip: remoteAddress, port: remotePort };
}
