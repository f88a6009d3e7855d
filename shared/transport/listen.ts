import type { Socket } from 'node:net';
import { BridgeError, messageOf } from '../errors.ts';
import { formatEndpoint } from '../ip.ts';
import type { Logger } from '../logger.ts';
import type { PortableStreamReservation } from '../ports/listening.ts';
import { reserveTcp } from '../ports/reserve-tcp.ts';
import { reserveUnix } from '../ports/reserve-unix.ts';
import type { TransportAddress, VsockAddress } from './address.ts';
import { type Bridge, needBridge } from './bridge.ts';
import { hybridListenPath } from './hybrid.ts';
import { hyperkitListenPath } from './hyperkit.ts';
import { reservePipe } from './npipe.ts';
import { GUESTS_ONLY, HOST_ONLY, type PeerCids } from './peer-cids.ts';
import { traitsOf } from './traits.ts';
import type { StreamListener } from './transport.ts';

export interface ListenOptions {
  /** Who may connect over AF_VSOCK: unless told, the host to a VM, and VMs to the host. */
  readonly peers?: PeerCids | undefined;
  /** For what Node cannot listen on itself; see bridgeFor. */
  readonly bridge?: Bridge | undefined;
}

/**
 * Accepts streams at a transport address; a unix socket gets mode 0600. Streams arrive paused and half-open.
 * @param dialledBy the side of the VM boundary whose streams arrive here
 * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED, UNSUPPORTED or IO, naming the URL
 */
export async function listen(
  address: TransportAddress,
  dialledBy: 'host' | 'vm',
  onStream: (stream: Socket) => void,
  log: Logger,
  { peers, bridge }: ListenOptions = {},
): Promise<StreamListener> {
  return listening(address, dialledBy, async () => {
    if (address.scheme === 'vsock') {
      const awaited = peers ?? (dialledBy === 'host' ? HOST_ONLY : GUESTS_ONLY);
      const { close } = needBridge(address, bridge).listen(address, awaited, onStream);
      return { port: address.port, close };
    }
    const reservation = await reserve(address, log);
    reservation.start(onStream);
    return reservation;
  });
}

function reserve(
  address: Exclude<TransportAddress, VsockAddress>,
  log: Logger,
): Promise<PortableStreamReservation> {
  switch (address.scheme) {
    case 'unix':
      return reserveUnix({ path: address.path, log });
    case 'hybrid':
      return reserveUnix({ path: hybridListenPath(address), log });
    case 'hyperkit':
      return reserveUnix({ path: hyperkitListenPath(address), log });
    case 'npipe':
      return reservePipe(address.path, log);
    case 'tcp':
      return reserveTcp({ ip: address.host, port: address.port, log });
  }
}

/** The listener that `open` makes, on whichever engine. @throws BridgeError as `open` does, naming the URL */
export async function listening(
  address: TransportAddress,
  dialledBy: 'host' | 'vm',
  open: () => Promise<{ readonly port: number; close(): Promise<void> }>,
): Promise<StreamListener> {
  const traits = traitsOf(address, dialledBy);
  try {
    const reservation = await open();
    const url =
      address.scheme !== 'tcp' ? address.url : `tcp://${formatEndpoint(address.host, reservation.port)}`;
    return { url, traits, close: () => reservation.close() };
  } catch (error) {
    const code = error instanceof BridgeError ? error.code : 'IO';
    throw new BridgeError(code, `cannot listen on ${address.url}: ${messageOf(error)}`, { cause: error });
  }
}
