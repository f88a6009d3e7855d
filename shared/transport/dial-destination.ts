import { connect, type Socket } from 'node:net';
import { describeDestination, type TcpDestination, type UnixDestination } from '../destination.ts';
import { BridgeError, errnoNumber, messageOf } from '../errors.ts';
import { whileBacklogIsFull } from './full-backlog.ts';

/** How long a destination may take to accept, milliseconds. */
const DIAL_MS = 10_000;

/**
 * Dials a TCP port or unix socket: a container, or for a reverse forward a service of the host.
 * @param keepalive of the socket, seconds; undefined for none
 * @returns the socket, paused, half-open allowed; nothing was read from it
 * @throws BridgeError DIAL_REFUSED, DIAL_TIMEOUT, DIAL_FAILED (with the errno that the system gave) or CANCELLED
 */
export function dialDestination(
  destination: TcpDestination | UnixDestination,
  signal: AbortSignal,
  keepalive?: number,
): Promise<Socket> {
  const path = destination.protocol === 'unix' ? destination.path : undefined;
  return whileBacklogIsFull(path, () => dialOnce(destination, signal, keepalive));
}

function dialOnce(
  destination: TcpDestination | UnixDestination,
  signal: AbortSignal,
  keepalive: number | undefined,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const what = describeDestination(destination);
    if (signal.aborted) return reject(new BridgeError('CANCELLED', `dialling ${what} was cancelled`));
    const where =
      destination.protocol === 'unix'
        ? { path: destination.path }
        : { host: destination.ip, port: destination.port, noDelay: true };
    const socket = connect({ allowHalfOpen: true, ...where });
    socket.pause(); // else Node reads ahead once it is connected
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
      socket.removeAllListeners('connect');
      socket.removeAllListeners('error');
    };
    const fail = (error: BridgeError): void => {
      settle();
      socket.on('error', () => {}); // given up while connecting; nobody is left to tell
      if (destination.protocol === 'unix') socket.destroy();
      else giveUp(socket);
      reject(error);
    };
    const cancel = (): void => fail(new BridgeError('CANCELLED', `dialling ${what} was cancelled`));
    const timer = setTimeout(
      () => fail(new BridgeError('DIAL_TIMEOUT', `${what} did not accept within ${DIAL_MS / 1000} s`)),
      DIAL_MS,
    );
    signal.addEventListener('abort', cancel, { once: true });
    socket.once('error', (error) => fail(dialError(what, error)));
    socket.once('connect', () => {
      settle();
      if (keepalive !== undefined) socket.setKeepAlive(true, keepalive * 1000);
      resolve(socket);
    });
  });
}

/**
 * Gives up a TCP socket that connects. The kernel may have connected it without Node knowing yet; its server would
 * take a mere close for an end, so it is reset when that shows in the next turn.
 */
function giveUp(socket: Socket): void {
  socket.once('connect', () => socket.resetAndDestroy());
  setImmediate(() => setImmediate(() => socket.destroy()));
}

function dialError(what: string, error: Error): BridgeError {
  const errno = errnoNumber(error);
  const refused = (error as { code?: string }).code === 'ECONNREFUSED';
  return new BridgeError(
    refused ? 'DIAL_REFUSED' : 'DIAL_FAILED',
    refused
      ? `${what} refused the connection: nothing listens there`
      : `cannot dial ${what}: ${messageOf(error)}`,
    { errno, cause: error },
  );
}
