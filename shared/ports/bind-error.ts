import { BridgeError, messageOf, nodeErrno } from '../errors.ts';
import { formatEndpoint, isLinkLocal } from '../ip.ts';

export interface BindRequest {
  readonly protocol: 'tcp' | 'udp';
  /** As it was asked for, 0.0.0.0 and :: included. */
  readonly ip: string;
  readonly port: number;
}

/**
 * One error for everything that can go wrong while a host port is taken. The texts are those that users of docker know
 * from the daemon, and clients print them as they are.
 * @param error what listen or bind gave; a BridgeError comes back unchanged
 */
export function bindError(error: unknown, request: BindRequest): BridgeError {
  if (error instanceof BridgeError) return error;
  const { protocol, ip, port } = request;
  const place = { protocol, ip, port };
  const where = formatEndpoint(ip, port);
  const name = nodeErrno(error);
  switch (name) {
    case 'EADDRINUSE':
      return portInUse(request, error);
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT': // a host without IPv6 has none of its addresses
      return new BridgeError(
        'ADDRESS_NOT_AVAILABLE',
        `listen ${request.protocol} ${where}: bind: cannot assign requested address`,
        { errno: name, cause: error, place },
      );
    case 'EACCES':
    case 'EPERM':
      return new BridgeError('PERMISSION_DENIED', `Bind for ${where} failed: permission denied`, {
        cause: error,
        place,
      });
    case 'EINVAL':
      if (isLinkLocal(ip) && !ip.includes('%'))
        return new BridgeError(
          'ADDRESS_NOT_AVAILABLE',
          `Bind for ${where} failed: a link-local address needs the name of its interface: [${ip}%eth0]`,
          { errno: name, cause: error, place },
        );
      break;
  }
  return new BridgeError('IO', `Bind for ${where}: unexpected error ${name ?? messageOf(error)}`, {
    cause: error,
    place,
  });
}

/** Somebody has the port. */
export function portInUse({ protocol, ip, port }: BindRequest, cause?: unknown): BridgeError {
  const where = formatEndpoint(ip, port);
  return new BridgeError('PORT_IN_USE', `Bind for ${where} failed: port is already allocated`, {
    cause,
    place: { protocol, ip, port },
  });
}
