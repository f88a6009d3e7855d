import { isIP } from 'node:net';
import { type EnginePreference, engineOptions } from '../shared/engine/choose.ts';
import { BridgeError } from '../shared/errors.ts';
import { parseHeartbeat } from '../shared/link/heartbeat.ts';
import { parseDestinationRule } from '../shared/rules/destination-rule.ts';
import { parseAddress, type TransportAddress } from '../shared/transport/address.ts';
import { parseVmDial, parseVmLink, type VmEndAddress } from '../shared/transport/link-address.ts';
import { HOST_ONLY, type PeerCids, parsePeerCids } from '../shared/transport/peer-cids.ts';

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

/** Checks the options of `portferry vm-shim` once, at the edge. @throws BridgeError BAD_REQUEST */
export function shimConfig(options: ShimOptions): ShimConfig {
  const { listen, connect, portFs, gatewayApi, tokenFile, legacyPeer = false } = options;
  if ((listen === undefined) === (connect === undefined))
    throw new BridgeError(
      'BAD_REQUEST',
      'give either --listen <url> (the host agent dials us) or --connect <url> (we dial it)',
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

/** A kernel mounts it from a unix socket, whose permissions say who may. @throws BridgeError BAD_REQUEST */
export function parsePortFs(url: string): TransportAddress & { readonly scheme: 'unix' } {
  const address = parseAddress(url);
  if (address.scheme === 'unix') return address;
  throw new BridgeError('BAD_REQUEST', `--port-fs ${url}: it is served on a unix socket: unix:///path`);
}

function parseGateway(text: string): { host: string; port: number } {
  const match = /^(\[[^\]]+\]|[^:[\]]+):(\d{1,5})$/.exec(text);
  const host = match?.[1]?.replace(/^\[|\]$/g, '') ?? '';
  const port = Number(match?.[2]);
  if (isIP(host) === 0 || port > 65_535)
    throw new BridgeError('BAD_REQUEST', `--gateway-api "${text}" is not IP:PORT (IPv6 in brackets)`);
  return { host, port };
}
