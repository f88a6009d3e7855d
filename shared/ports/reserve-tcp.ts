import type { AddressInfo } from 'node:net';
import { formatEndpoint } from '../ip.ts';
import type { Logger } from '../logger.ts';
import { bindError } from './bind-error.ts';
import { createStreamServer, listen, type PortableStreamReservation, reservationOf } from './listening.ts';

/**
 * Takes a TCP port. IPv6 sockets take IPv6 only, so `::` and `0.0.0.0` may be asked for side by side.
 * @param request port 0 takes any free one
 * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED or IO
 */
export async function reserveTcp(request: {
  readonly ip: string;
  readonly port: number;
  readonly log?: Logger;
}): Promise<PortableStreamReservation> {
  const { ip, port, log } = request;
  const server = createStreamServer();
  try {
    await listen(server, { host: ip, port, ipv6Only: ip.includes(':') });
  } catch (error) {
    throw bindError(error, { protocol: 'tcp', ip, port });
  }
  const bound = (server.address() as AddressInfo).port;
  return reservationOf(server, formatEndpoint(ip, bound), bound, log);
}
