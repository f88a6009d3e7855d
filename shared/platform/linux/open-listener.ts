import { nodeErrno } from '../../errors.ts';
import { formatEndpoint } from '../../ip.ts';
import { bindError } from '../../ports/bind-error.ts';
import { listenInPlace } from '../../ports/reserve-unix.ts';
import type { Libc } from './libc.ts';
import type { Sockets } from './sockets.ts';

/**
 * A socket that listens, by its descriptor, which is the caller's. An IP port is only reserved before it is opened, where the
 * kernel lets us (reservation-filter.ts).
 */
export interface Listener {
  readonly fd: number;
  readonly tcp: boolean;
  /** 0 for unix sockets. */
  readonly port: number;
  /** Lets clients in; call it when all that was asked for is bound, and somebody is about to accept. */
  open(): void;
  /** Takes away what is not a descriptor. */
  leave(): void;
}

/** The counterpart of reserveTcp, with the same errors. */
export function openTcpListener(
  sockets: Sockets,
  libc: Libc,
  request: { ip: string; port: number },
): Listener {
  const { ip, port } = request;
  let fd: number | undefined;
  try {
    const bound = sockets.openListener({ family: 'ip', ip, port }, formatEndpoint(ip, port));
    fd = bound;
    return { fd, tcp: true, port: sockets.localPort(fd), open: () => sockets.answer(bound), leave() {} };
  } catch (error) {
    if (fd !== undefined) libc.close(fd);
    throw bindError(causeOf(error), { protocol: 'tcp', ip, port });
  }
}

/**
 * The counterpart of reserveTcpWaiting: it refuses clients, and nobody else can have the port.
 * @param request a port by its number: only that is kept by a socket that does not listen
 */
export function openWaitingTcpListener(
  sockets: Sockets,
  libc: Libc,
  request: { ip: string; port: number },
): Listener {
  const listener = openTcpListener(sockets, libc, request);
  sockets.stopListening(listener.fd);
  return listener;
}

/** The counterpart of reserveUnix, with the same errors. */
export async function openUnixListener(sockets: Sockets, libc: Libc, path: string): Promise<Listener> {
  let fd = -1;
  try {
    const leave = await listenInPlace(path, (name) => {
      try {
        fd = sockets.openListener({ family: 'unix', path: name }, path);
      } catch (error) {
        throw causeOf(error);
      }
    });
    return { fd, tcp: false, port: 0, open() {}, leave };
  } catch (error) {
    if (fd >= 0) libc.close(fd);
    throw error;
  }
}

/** The system's own error, which those who name the port know by its `code`. */
function causeOf(error: unknown): unknown {
  const { cause } = error as { cause?: unknown };
  return nodeErrno(cause) === undefined ? error : cause;
}
