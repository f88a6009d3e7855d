import type { Socket } from 'node:net';
import type { TransportAddress } from './address.ts';
import { type Bridge, needBridge } from './bridge.ts';
import { dialHybrid } from './hybrid.ts';
import { dialHyperkit, hyperkitRefusal } from './hyperkit.ts';
import { connectSocket } from './socket-dial.ts';
import { traitsOf } from './traits.ts';
import type { Dialer } from './transport.ts';

/**
 * A dialer for one address.
 * @param side the side of the VM boundary that we are on: the one that is able to dial
 * @param bridge for what Node cannot dial itself; see bridgeFor
 */
export function createDialer(
  address: TransportAddress,
  side: 'host' | 'vm',
  bridge?: Bridge,
): Dialer<Socket> {
  return {
    url: address.url,
    traits: traitsOf(address, side),
    dial: (signal) => dial(address, signal, bridge),
    ...(address.scheme === 'hyperkit' ? { refusal: hyperkitRefusal(address) } : {}),
  };
}

/**
 * One stream to a transport address.
 * @throws BridgeError NO_LINK, PERMISSION_DENIED, PROTOCOL, TIMEOUT, IO or CANCELLED, naming the URL
 */
export function dial(address: TransportAddress, signal: AbortSignal, bridge?: Bridge): Promise<Socket> {
  switch (address.scheme) {
    case 'vsock':
      return needBridge(address, bridge).dial(address, signal);
    case 'hybrid':
      return dialHybrid(address, signal);
    case 'hyperkit':
      return dialHyperkit(address, signal);
    case 'unix':
    case 'npipe':
      return connectSocket({ path: address.path }, address.url, signal);
    case 'tcp':
      return connectSocket({ host: address.host, port: address.port }, address.url, signal);
  }
}
