import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from '../logger.ts';
import { HeldClients } from './held-clients.ts';
import type { StreamReservation } from './reservation.ts';

/** What TCP ports and unix sockets have in common on node:net. */

/** A reservation on node:net, with what it counts. */
export interface PortableStreamReservation extends StreamReservation {
  /** Accepts that failed. Clients that libuv turned away for want of descriptors are not among them: Node is not told. */
  readonly acceptErrors: number;
  /** Clients reset before start() because too many were waiting. */
  readonly turnedAway: number;
}

/** The kernel caps it at net.core.somaxconn, 4096 since Linux 5.4; Node's own 511 would be met by a burst of clients. */
const BACKLOG = 4_096;

/** A server whose sockets are paused and keep half-close. */
export function createStreamServer(): Server {
  return createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
}

/**
 * Begins to listen.
 * @throws the errors of bind(2) and listen(2) as Node gives them
 */
export function listen(server: Server, options: Parameters<Server['listen']>[0] & object): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // `exclusive` matters under node:cluster, where the primary would share one socket among its workers.
    server.listen({ ...options, backlog: BACKLOG, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * The reservation of a server that listens: holds clients until start(), counts what fails.
 * @param name of the port, for the log
 * @param leave runs as listening ends, to give back what is not a descriptor
 */
export function reservationOf(
  server: Server,
  name: string,
  port: number,
  log: Logger | undefined,
  leave: () => void = () => {},
): PortableStreamReservation {
  const held = new HeldClients(name, log);
  let acceptErrors = 0;
  let closed = false;
  const hold = (socket: Socket) => held.hold(socket);
  server.on('connection', hold);
  // Such errors (ENOBUFS, ECONNABORTED) concern one client; listening goes on. With no descriptor left, libuv closes the
  // waiting clients by means of a spare one, so that no busy loop comes of it.
  server.on('error', (error) => {
    if (acceptErrors++ === 0) log?.error({ err: error, port: name }, `accepting on ${name} failed`);
  });
  return {
    port,
    get acceptErrors() {
      return acceptErrors;
    },
    get turnedAway() {
      return held.turnedAway;
    },
    start(onClient) {
      if (closed) return;
      server.off('connection', hold).on('connection', onClient);
      held.handOver(onClient);
    },
    async close() {
      if (closed) return;
      closed = true;
      leave();
      // The descriptor is closed before this returns; the callback would wait for the clients that others serve.
      server.close();
      held.dropAll();
    },
  };
}
