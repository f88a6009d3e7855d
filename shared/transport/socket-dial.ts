import { connect, type Socket } from 'node:net';
import { BridgeError, messageOf, nodeErrno } from '../errors.ts';
import { BACKLOG_PATIENCE_MS, whileBacklogIsFull } from './full-backlog.ts';

/** What node:net is able to connect to: the path of a unix socket or a named pipe, or TCP. */
export type SocketPlace = { readonly path: string } | { readonly host: string; readonly port: number };

/**
 * One socket, paused and half-open; a full backlog is waited for.
 * @param url for errors
 * @throws BridgeError NO_LINK, PERMISSION_DENIED or CANCELLED, naming the URL
 */
export function connectSocket(where: SocketPlace, url: string, signal: AbortSignal): Promise<Socket> {
  const path = 'path' in where ? where.path : undefined;
  return whileBacklogIsFull(path, () => connectOnce(where, url, signal));
}

function connectOnce(where: SocketPlace, url: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new BridgeError('CANCELLED', `dialling ${url} was cancelled`));
    const socket = connect({ noDelay: true, allowHalfOpen: true, ...where });
    const settle = (): void => {
      signal.removeEventListener('abort', cancel);
      socket.removeListener('error', fail);
      socket.removeListener('connect', done);
    };
    const fail = (error: Error): void => {
      settle();
      socket.destroy();
      reject(dialError(url, error));
    };
    const cancel = (): void => {
      settle();
      socket.on('error', () => {}); // a failure after the cancel interests nobody
      socket.destroy();
      reject(new BridgeError('CANCELLED', `dialling ${url} was cancelled`));
    };
    const done = (): void => {
      settle();
      socket.pause();
      resolve(socket);
    };
    signal.addEventListener('abort', cancel, { once: true });
    socket.on('error', fail);
    socket.on('connect', done);
  });
}

function dialError(url: string, error: Error): BridgeError {
  const errno = nodeErrno(error);
  if (errno === 'EACCES' || errno === 'EPERM')
    return new BridgeError('PERMISSION_DENIED', `cannot connect to ${url}: permission denied`, {
      cause: error,
    });
  const why: Record<string, string> = {
    ENOENT: 'there is no such socket (is the other side running?)',
    ECONNREFUSED: 'nobody listens there (is the other side running?)',
    EAGAIN: `its backlog was full for ${BACKLOG_PATIENCE_MS / 1000} s (does the other side hang?)`,
  };
  const reason = (errno !== undefined && why[errno]) || messageOf(error);
  return new BridgeError('NO_LINK', `cannot connect to ${url}: ${reason}`, { cause: error });
}
