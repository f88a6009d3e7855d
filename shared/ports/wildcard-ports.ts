/**
 * TCP ports that the system gives at every address and denies at a single one, as macOS does below 1024. One listener
 * on the wildcard address has such a port; its clients go to whoever asked for the local address that they dialled, and
 * all others are reset. From outside the port looks open at every address.
 */
import type { Server, Socket } from 'node:net';
import { nodeErrno } from '../errors.ts';
import { canonicalIp, formatEndpoint, isUnspecified } from '../ip.ts';
import type { Logger } from '../logger.ts';
import { bindError } from './bind-error.ts';
import { createStreamServer, listen, type PortableStreamReservation, reservationOf } from './listening.ts';

export interface WildcardRules {
  /** Ports below this one are meant. */
  readonly below: number;
  /** Without trying the single address first. */
  readonly always: boolean;
}

export interface TcpRequest {
  readonly ip: string;
  readonly port: number;
  readonly log?: Logger;
}

/** One listener, and a server that never listens for each address that somebody asked for. */
interface Shared {
  readonly server: Server;
  readonly listening: Promise<void>;
  readonly servers: Map<string, Server>;
}

export class WildcardPorts {
  private readonly rules: WildcardRules;
  private readonly shared = new Map<string, Shared>();

  constructor(rules: WildcardRules) {
    this.rules = rules;
  }

  /** Whether a port is to be taken this way. @param error what taking it at its address failed of, if that was tried */
  takes({ ip, port }: TcpRequest, error?: unknown): boolean {
    const { below, always } = this.rules;
    const denied = always || nodeErrno(error) === 'EACCES';
    return denied && port > 0 && port < below && !isUnspecified(ip);
  }

  /** Takes a port at one address. @throws BridgeError as reserveTcp does */
  async reserve({ ip, port, log }: TcpRequest): Promise<PortableStreamReservation> {
    const key = `${ip.includes(':') ? '::' : '0.0.0.0'} ${port}`;
    const shared = this.shared.get(key) ?? this.open(key, port);
    const mine = createStreamServer();
    try {
      if (shared.servers.has(ip)) throw Object.assign(new Error('it is ours'), { code: 'EADDRINUSE' });
      shared.servers.set(ip, mine);
      await shared.listening;
    } catch (error) {
      this.leave(key, shared, ip, mine);
      throw bindError(error, { protocol: 'tcp', ip, port });
    }
    return reservationOf(mine, formatEndpoint(ip, port), port, log, () => this.leave(key, shared, ip, mine));
  }

  private open(key: string, port: number): Shared {
    const [host] = key.split(' ');
    const server = createStreamServer();
    const servers = new Map<string, Server>();
    const listening = listen(server, { host: host!, port, ipv6Only: host === '::' }).then(() => {
      server.on('error', (error) => {
        for (const each of servers.values()) each.emit('error', error);
      });
    });
    server.on('connection', (socket) => handOver(socket, servers));
    const shared = { server, listening, servers };
    this.shared.set(key, shared);
    return shared;
  }

  private leave(key: string, { server, servers }: Shared, ip: string, mine: Server): void {
    if (servers.get(ip) === mine) servers.delete(ip);
    if (servers.size > 0) return;
    server.close();
    if (this.shared.get(key)?.server === server) this.shared.delete(key);
  }
}

function handOver(socket: Socket, servers: ReadonlyMap<string, Server>): void {
  const local = canonicalIp(socket.localAddress ?? '');
  const server = local === undefined ? undefined : servers.get(local);
  if (server !== undefined) {
    server.emit('connection', socket);
    return;
  }
  socket.on('error', () => {});
  socket.resetAndDestroy();
}
