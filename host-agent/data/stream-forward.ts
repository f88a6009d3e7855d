/**
 * One published TCP port or unix socket. A client is accepted, its destination dialled through the tunnel,
 * and both ends are handed to a Connection, which owns them from then on.
 */
import type { Socket } from 'node:net';
import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import type { ForwardOptions } from '../../shared/forward-options.ts';
import type { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import type { StreamReservation } from '../../shared/ports/reservation.ts';
import type { RateLimit } from '../../shared/rate-limit.ts';
import { Connection } from '../../shared/relay/connection.ts';
import { IdleWatch } from '../../shared/relay/idle-watch.ts';
import { PLAIN_SOCKET, StreamEnd } from '../../shared/relay/stream-end.ts';
import { sweepMs } from '../../shared/relay/udp-flows.ts';
import type { ClientAddress } from '../../shared/stream-details.ts';
import { type BackendPort, BackendWatch } from './backend-watch.ts';
import { ConnectionTally } from './connection-tally.ts';
import type { DataLimits, Forward } from './forward.ts';
import { type ClientEnds, proxyHeader } from './proxy-header.ts';
import { type ActiveLink, type LinkSource, openTunnel, probeTunnel, type TunnelRequest } from './tunnel.ts';

export interface StreamForwardOptions {
  readonly name: string;
  readonly destination: Destination;
  readonly settings: ForwardOptions;
  readonly reservation: StreamReservation;
  readonly links: LinkSource;
  readonly limits: DataLimits;
  readonly log: Logger;
  /** Of its connections and those of other ports of the forward. */
  readonly limit: Limit;
  /** Of new connections; not where whoever accepts clients has looked at it already. */
  readonly newConnections?: RateLimit;
  /** Its port, when that waits for the container. */
  readonly waitingPort?: BackendPort;
  /** Told why a client's dial has failed. */
  readonly dialFailed?: (errno: number) => void;
  /** Told when `state` is another one. */
  readonly onState?: (() => void) | undefined;
}

export class StreamForward implements Forward {
  private readonly options: StreamForwardOptions;
  private readonly tally: ConnectionTally;
  private readonly connections = new Set<Connection>();
  private readonly counters = { bytesUp: 0, bytesDown: 0 };
  private idleTimeouts = 0;
  private closed = false;
  private readonly watch: BackendWatch | undefined;

  /** Begins to accept. */
  constructor(options: StreamForwardOptions) {
    this.options = options;
    const { limit, limits, reservation } = options;
    const counted = [limit, limits.connectionsOfVm, limits.connections];
    this.tally = new ConnectionTally(options.name, counted, options.log);
    const { idleTimeout } = options.settings;
    if (idleTimeout !== undefined) this.watchIdle(idleTimeout);
    reservation.start((socket) => this.serve(socket));
    const { waitingPort: port, name, links, destination, log, onState } = options;
    if (port === undefined) return;
    const probe = (active: ActiveLink, signal: AbortSignal) => probeTunnel(active, { destination, signal });
    this.watch = new BackendWatch({ name, port, links, probe, log, onState });
  }

  get state(): string | undefined {
    return this.watch?.state;
  }

  async close({ now }: { now: boolean }): Promise<void> {
    this.closed = true;
    this.watch?.close();
    const closing = this.options.reservation.close();
    if (now) {
      const reason = new BridgeError('CANCELLED', `${this.options.name} was unexposed`);
      for (const connection of [...this.connections]) connection.stop(reason);
    }
    await closing;
  }

  stats(): Record<string, number> {
    return {
      ...this.tally.stats(this.connections.size, this.counters),
      ...(this.options.settings.idleTimeout !== undefined && { idle_timeouts: this.idleTimeouts }),
    };
  }

  /** Ends connections that have been silent for too long, as long as there may be some. */
  private watchIdle(seconds: number): void {
    const { name } = this.options;
    const watch = new IdleWatch<Connection>(seconds * 1000);
    const timer = setInterval(
      () => {
        for (const connection of watch.look(this.connections, performance.now())) {
          this.idleTimeouts++;
          connection.stop(new BridgeError('TIMEOUT', `${name}: no byte either way for ${seconds} s`));
        }
        if (this.closed && this.connections.size === 0) clearInterval(timer);
      },
      sweepMs(seconds * 1000),
    );
    timer.unref();
  }

  private serve(socket: Socket): void {
    const { destination, limits, links, name, settings, newConnections } = this.options;
    const { tally } = this;
    const { keepalive } = settings;
    if (keepalive !== undefined) socket.setKeepAlive(true, keepalive * 1000);
    const client = clientOf(socket);
    const dial = new AbortController();
    const full = tally.begin(newConnections);
    const connection = new Connection(new StreamEnd(socket, PLAIN_SOCKET), {
      counters: this.counters,
      pace: limits.pace,
      cancelDial: () => dial.abort(),
      closed: (error) => {
        this.connections.delete(connection);
        tally.ended(client, full === undefined, error);
      },
    });
    this.connections.add(connection);
    if (full !== undefined) {
      connection.limit(new BridgeError('LIMIT_REACHED', `${name} may have no more ${full}`));
      return;
    }
    const header = this.proxyHeaderFor(socket);
    void this.dial(connection, { destination, client, keepalive, signal: dial.signal }, links, header);
  }

  /** Taken while the client is there: a socket that was reset knows its addresses no longer. */
  private proxyHeaderFor(socket: Socket): Buffer | undefined {
    const { proxyProtocol } = this.options.settings;
    return proxyProtocol === undefined ? undefined : proxyHeader(proxyProtocol, endsOf(socket));
  }

  private async dial(
    connection: Connection,
    request: TunnelRequest,
    links: LinkSource,
    header: Buffer | undefined,
  ): Promise<void> {
    const { client, signal } = request;
    try {
      const active = await links.whenUp(signal);
      const tunnel = await openTunnel(active, request);
      if (header !== undefined) tunnel.write(header);
      connection.dialled(tunnel);
    } catch (error) {
      const failure =
        error instanceof BridgeError ? error : new BridgeError('IO', 'internal error', { cause: error });
      this.tally.dialFailed(client, failure);
      if (failure.code !== 'CANCELLED') {
        this.watch?.dialFailed(failure.errno);
        this.options.dialFailed?.(failure.errno);
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

function endsOf(socket: Socket): ClientEnds | undefined {
  const { localAddress, localPort } = socket;
  const client = clientOf(socket);
  if (client === undefined || localAddress === undefined || localPort === undefined) return undefined;
  return { client, local: { ip: localAddress, port: localPort } };
}
