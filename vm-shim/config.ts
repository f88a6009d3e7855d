import { type EnginePreference, engineOptions } from '../shared/engine/choose.ts';
import { BridgeError } from '../shared/errors.ts';
import { parseHeartbeat } from '../shared/link/heartbeat.ts';
import { parseDestinationRule } from '../shared/rules/destination-rule.ts';
import { settingsAsOptions, withoutUndefined } from '../shared/settings/as-options.ts';
import { NO_SETTINGS, type Settings } from '../shared/settings/settings.ts';
import type { TransportAddress } from '../shared/transport/address.ts';
import { parseVmDial, parseVmLink, type VmEndAddress } from '../shared/transport/link-address.ts';
import { HOST_ONLY, type PeerCids, parsePeerCids } from '../shared/transport/peer-cids.ts';
import { parseGateway, parsePortFs } from './addresses.ts';
import { SHIM_SCHEMA } from './schema.ts';

export interface ShimConfig {
  /** Exactly one of `listen` and `connect` is set. */
  readonly listen: TransportAddress | VmEndAddress | undefined;
  readonly connect: TransportAddress | undefined;
  /** Where the control filesystem is served. */
  readonly portFs: TransportAddress | undefined;
  /** Where gvproxy's API is served, to containers too. */
  readonly gatewayApi: { readonly host: string; readonly port: number } | undefined;
  /** Who may connect over AF_VSOCK. */
  readonly peerCids: PeerCids;
  /** The file of the token that the host has to have too. */
  readonly tokenFile: string | undefined;
  readonly legacyPeer: boolean;
  /** What the host may have dialled; all where undefined. */
  readonly allowedDestinations: readonly string[] | undefined;
  /** How often the host agent is asked whether it is there, milliseconds. */
  readonly heartbeatMs: number;
  readonly engine: EnginePreference;
  /** Threads of the Linux engine; from the cores when undefined. */
  readonly workers: number | undefined;
}

export interface ShimOptions {
  readonly listen?: string;
  readonly connect?: string;
  readonly portFs?: string;
  readonly gatewayApi?: string;
  readonly peerCid?: string;
  readonly tokenFile?: string;
  readonly legacyPeer?: boolean;
  readonly allowDestination?: readonly string[];
  readonly heartbeat?: string;
  readonly engine?: string;
  readonly workers?: string;
}

/**
 * Checks the options of `portferry vm-shim` and its configuration file once, at the edge.
 * @param given options that were given; they win over the file
 * @throws BridgeError BAD_REQUEST
 */
export function shimConfig(given: ShimOptions, file: Settings = NO_SETTINGS): ShimConfig {
  const options = optionsWithFile(given, file);
  const { listen, connect, portFs, gatewayApi, tokenFile, legacyPeer = false } = options;
  if ((listen === undefined) === (connect === undefined))
    throw new BridgeError(
      'BAD_REQUEST',
      'give either --listen <url> (the host agent dials us) or --connect <url> (we dial it), or one of them in --config',
    );
  options.allowDestination?.forEach(parseDestinationRule);
  if (tokenFile === '') throw new BridgeError('BAD_REQUEST', '--token-file names no file');
  return Object.freeze({
    listen: listen === undefined ? undefined : parseVmLink(listen),
    portFs: portFs === undefined ? undefined : parsePortFs(portFs),
    gatewayApi: gatewayApi === undefined ? undefined : parseGateway(gatewayApi),
    connect: connect === undefined ? undefined : parseVmDial(connect),
    peerCids: options.peerCid === undefined ? HOST_ONLY : parsePeerCids(options.peerCid),
    tokenFile,
    legacyPeer,
    allowedDestinations: options.allowDestination,
    heartbeatMs: parseHeartbeat(options.heartbeat),
    ...engineOptions(options),
  });
}

/** The shim has one link: who gives a URL means that one. */
function optionsWithFile(given: ShimOptions, file: Settings): ShimOptions {
  const options = settingsAsOptions(SHIM_SCHEMA.keys, file);
  if (given.listen !== undefined || given.connect !== undefined) {
    delete options.listen;
    delete options.connect;
  }
  return withoutUndefined({ ...options, ...withoutUndefined(given) });
}
