import { type EnginePreference, engineOptions } from '../shared/engine/choose.ts';
import { BridgeError } from '../shared/errors.ts';
import type { TransportAddress } from '../shared/transport/address.ts';
import { parseVmDial, parseVmLink, type VmEndAddress } from '../shared/transport/link-address.ts';
import { HOST_ONLY, type PeerCids, parsePeerCids } from '../shared/transport/peer-cids.ts';

export interface ShimConfig {
  /** Exactly one of `listen` and `connect` is set. */
  readonly listen: TransportAddress | VmEndAddress | undefined;
  readonly connect: TransportAddress | undefined;
  /** Who may connect over AF_VSOCK. */
  readonly peerCids: PeerCids;
  readonly legacyPeer: boolean;
  readonly engine: EnginePreference;
  /** Threads of the Linux engine; from the cores when undefined. */
  readonly workers: number | undefined;
}

export interface ShimOptions {
  readonly listen?: string;
  readonly connect?: string;
  readonly peerCid?: string;
  readonly legacyPeer?: boolean;
  readonly engine?: string;
  readonly workers?: string;
}

/** Checks the options of `portferry vm-shim` once, at the edge. @throws BridgeError BAD_REQUEST */
export function shimConfig(options: ShimOptions): ShimConfig {
  const { listen, connect, legacyPeer = false } = options;
  if ((listen === undefined) === (connect === undefined))
    throw new BridgeError(
      'BAD_REQUEST',
      'give either --listen <url> (the host agent dials us) or --connect <url> (we dial it)',
    );
  return Object.freeze({
    listen: listen === undefined ? undefined : parseVmLink(listen),
    connect: connect === undefined ? undefined : parseVmDial(connect),
    peerCids: options.peerCid === undefined ? HOST_ONLY : parsePeerCids(options.peerCid),
    legacyPeer,
    ...engineOptions(options),
  });
}
