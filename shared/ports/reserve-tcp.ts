import type { AddressInfo } from 'node:net';
import { formatEndpoint } from '../ip.ts';
import { bindError } from './bind-error.ts';
import { createStreamServer, listen, type PortableStreamReservation, reservationOf } from './listening.ts';
import { type OwnListeners, ownListeners } from './own-listeners.ts';
import type { TcpRequest, WildcardPorts } from './wildcard-ports.ts';

/**
 * Takes a TCP port. IPv6 sockets take IPv6 only, so `::` and `0.0.0.0` may be asked for side by side.
 * @param request port 0 takes any free one; `wildcard` takes what is denied at one address only
 * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED or IO
 */
export async function reserveTcp(
  request: TcpRequest & {
    readonly wildcard?: WildcardPorts | undefined;
    /** For tests. */
    readonly own?: OwnListeners;
  },
): Promise<PortableStreamReservation> {
  const { ip, port, log, wildcard, own = ownListeners } = request;
  if (wildcard?.takes(request)) return wildcard.reserve(request);
  let leave = port === 0 ? undefined : own?.take(request);
  const server = createStreamServer();
  try {
    await listen(server, { host: ip, port, ipv6Only: ip.includes(':') });
    const bound = (server.address() as AddressInfo).port;
    leave ??= own?.take({ ip, port: bound });
    return reservationOf(server, formatEndpoint(ip, bound), bound, log, leave);
  } catch (error) {
    server.close();
    leave?.();
    if (wildcard?.takes(request, error)) return wildcard.reserve(request);
    throw bindError(error, { protocol: 'tcp', ip, port });
  }
}
