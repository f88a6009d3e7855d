/**
 * One published TCP port or unix socket. A client is accepted, its destination dialled through the tunnel,
 * and both ends are handed to a Connection, which owns them from then on.
 */
import type { Socket } from 'node:net';
import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import type { ForwardOptions } from '../../shared/forward-options.ts';
import { giveAll, type Limit, takeAll } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import type { StreamReservation } from '../../shared/ports/reservation.ts';
import type { RateLimit } from '../../shared/rate-limit.ts';
import { Connection } from '../../shared/relay/connection.ts';
import { IdleWatch } from '../../shared/relay/idle-watch.ts';
import { PLAIN_SOCKET, StreamEnd } from '../../shared/relay/stream-end.ts';
import { sweepMs } from '../../shared/relay/udp-flows.ts';
import type { ClientAddress } from '../../shared/stream-details.ts';
import { type BackendPort, BackendWatch } from './backend-watch.ts';
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
  /** Every connection counts in each. */
  private readonly limits: readonly Limit[];
  private readonly connections = new Set<Connection>();
  private readonly counters = { bytesUp: 0, bytesDown: 0 };
  private accepted = 0;
  private dialFailures = 0;
  private resets = 0;
  private refused = 0;
  private idleTimeouts = 0;
  private closed = false;
  private readonly watch: BackendWatch | undefined;

  /** Begins to accept. */
  constructor(options: StreamForwardOptions) {
    this.options = options;
    const { limit, limits, reservation } = options;
    this.limits = [limit, limits.connectionsOfVm, limits.connections];
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
      connections: this.accepted,
      active: this.connections.size,
      bytes_up: this.counters.bytesUp,
      bytes_down: this.counters.bytesDown,
      dial_failures: this.dialFailures,
      resets: this.resets,
      refused_by_limit: this.refused,
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
    const { destination, limits, links, log, name, settings, newConnections } = this.options;
    const { keepalive } = settings;
    this.accepted++;
    if (keepalive !== undefined) socket.setKeepAlive(true, keepalive * 1000);
    const client = clientOf(socket);
    const dial = new AbortController();
    const inTime = newConnections === undefined || newConnections.take();
    const counted = inTime && takeAll(this.limits);
    const connection = new Connection(new StreamEnd(socket, PLAIN_SOCKET), {
      counters: this.counters,
      pace: limits.pace,
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
      const what = inTime ? 'connections' : 'new connections at the moment';
      connection.limit(new BridgeError('LIMIT_REACHED', `${name} may have no more ${what}`));
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
      if (failure.code !== 'CANCELLED') {
        this.dialFailures++;
        const { log, name } = this.options;
        log.info({ forward: name, client, code: failure.code }, `a client was reset: ${failure.message}`);
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
