import { connect, type Socket } from 'node:net';
import { BridgeError, messageOf, nodeErrno } from '../errors.ts';
import type { TransportAddress, VsockAddress } from './address.ts';
import { type Bridge, needBridge } from './bridge.ts';
import { BACKLOG_PATIENCE_MS, whileBacklogIsFull } from './full-backlog.ts';
import type { Dialer } from './transport.ts';

/**
 * A dialer for one address.
 * @param side the side of the VM boundary that we are on: the one that is able to dial
 * @param bridge for what Node cannot dial itself; see bridgeFor
 */
export function createDialer(address: TransportAddress, side: 'host' | 'vm', bridge?: Bridge): Dialer {
  return {
    url: address.url,
    traits: { manyStreams: true, halfClose: true, whoDials: side },
    dial: (signal) => dial(address, signal, bridge),
  };
}

/** One stream to a transport address. @throws BridgeError NO_LINK, PERMISSION_DENIED or CANCELLED, naming the URL */
export function dial(address: TransportAddress, signal: AbortSignal, bridge?: Bridge): Promise<Socket> {
  if (address.scheme === 'vsock') return needBridge(address, bridge).dial(address, signal);
  return whileBacklogIsFull(() => dialOnce(address, signal));
}

function dialOnce(address: Exclude<TransportAddress, VsockAddress>, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new BridgeError('CANCELLED', `dialling ${address.url} was cancelled`));
    const where =
      address.scheme === 'unix'
        ? { path: address.path }
        : { host: address.host, port: address.port, noDelay: true };
    const socket = connect({ ...where, allowHalfOpen: true });
    const settle = (): void => {
      signal.removeEventListener('abort', cancel);
      socket.removeListener('error', fail);
      socket.removeListener('connect', done);
    };
    const fail = (error: Error): void => {
      settle();
      socket.destroy();
      reject(dialError(address.url, error));
    };
    const cancel = (): void => {
      settle();
      socket.on('error', () => {}); // a failure after the cancel interests nobody
      socket.destroy();
      reject(new BridgeError('CANCELLED', `dialling ${address.url} was cancelled`));
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
