import { BridgeError } from '../shared/errors.ts';
import { parseAddress, type TransportAddress } from '../shared/transport/address.ts';

export interface ShimConfig {
  /** Exactly one of `listen` and `connect` is set. */
  readonly listen: TransportAddress | undefined;
  readonly connect: TransportAddress | undefined;
  readonly legacyPeer: boolean;
}

/** Checks the options of `portferry vm-shim` once, at the edge. @throws BridgeError BAD_REQUEST */
export function shimConfig(options: { listen?: string; connect?: string; legacyPeer?: boolean }): ShimConfig {
  const { listen, connect, legacyPeer = false } = options;
  if ((listen === undefined) === (connect === undefined))
    throw new BridgeError(
      'BAD_REQUEST',
      'give either --listen <url> (the host agent dials us) or --connect <url> (we dial it)',
    );
  return Object.freeze({
    listen: listen === undefined ? undefined : parseAddress(listen),
    connect: connect === undefined ? undefined : parseAddress(connect),
    legacyPeer,
  });
}
