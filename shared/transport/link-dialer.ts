import type { Duplex } from 'node:stream';
import type { Logger } from '../logger.ts';
import type { TransportAddress } from './address.ts';
import type { Bridge } from './bridge.ts';
import { createDialer } from './dial.ts';
import { startCommand } from './exec.ts';
import { type HostEndAddress, isHostEnd } from './link-address.ts';
import { dialSerial } from './serial.ts';
import type { Dialer } from './transport.ts';

/** Opens the stream of a link from the host's side. @param bridge for what Node cannot dial itself */
export function createLinkDialer(
  address: TransportAddress | HostEndAddress,
  log: Logger,
  bridge?: Bridge,
): Dialer {
  if (!isHostEnd(address)) return createDialer(address, 'host', bridge);
  return {
    url: address.url,
    traits: { manyStreams: false, halfClose: false, whoDials: 'host' },
    dial: (signal) => dialHostEnd(address, signal, log),
  };
}

function dialHostEnd(address: HostEndAddress, signal: AbortSignal, log: Logger): Promise<Duplex> {
  return address.scheme === 'exec' ? startCommand(address, signal, log) : dialSerial(address, signal);
}
