import { type EnginePreference, engineOptions } from '../shared/engine/choose.ts';
import { BridgeError } from '../shared/errors.ts';
import { parseHeartbeat } from '../shared/link/heartbeat.ts';
import type { PortRange } from '../shared/port-range.ts';
import { readPorts } from '../shared/port-spec-cursor.ts';
import { EPHEMERAL } from '../shared/ports/allocator.ts';
import type { WildcardRules } from '../shared/ports/wildcard-ports.ts';
import { parseDestinationRule } from '../shared/rules/destination-rule.ts';
import { checkDirectory } from '../shared/rules/unix-directory.ts';
import { NO_SETTINGS, type Settings } from '../shared/settings/settings.ts';
import { parseAddress, type TransportAddress } from '../shared/transport/address.ts';
import { type ApiAddress, parseApiAddress } from '../shared/transport/api-address.ts';
import { LANES, type LanePreference } from '../shared/transport/choose.ts';
import { type HostEndAddress, parseHostLink } from '../shared/transport/link-address.ts';
import { type PeerCids, parsePeerCids } from '../shared/transport/peer-cids.ts';
import { checkVms } from './check-vms.ts';
import { optionsWithFile } from './config-file.ts';
import { splitVmName } from './vm-name.ts';

/** How long the claims of a VM shim outlive its link unless told, milliseconds. */
const DEFAULT_GRACE_MS = 30_000;
/** Ports below it are privileged (IPPORT_RESERVED). */
const PRIVILEGED = 1024;
/** A day. */
const MAX_GRACE_S = 86_400;

/** A URL of one VM, on the command line `NAME=<url>` or `<url>`. */
export interface VmAddress<Address = TransportAddress> {
  readonly vm: string;
  readonly address: Address;
}

/** Who may connect to a VM's URLs over AF_VSOCK, on the command line `NAME=CIDS` or `CIDS`. */
export interface VmPeers {
  readonly vm: string;
  readonly peers: PeerCids;
}

/** The file of the token that a VM has to have too, on the command line `NAME=PATH` or `PATH`. */
export interface VmToken {
  readonly vm: string;
  readonly path: string;
}

export interface HostConfig {
  /** Shims that we dial. */
  readonly connect: readonly VmAddress<TransportAddress | HostEndAddress>[];
  /** Where shims dial us. */
  readonly listen: readonly VmAddress[];
  /** Where the 9P tree of a VM is served. */
  readonly control: readonly VmAddress[];
  /** Where the API is served. */
  readonly api: ApiAddress | undefined;
  /** Path of the file that permanent forwards live in; without one they end with the host agent. */
  readonly state: string | undefined;
  /** How long the claims of a VM shim outlive its link, milliseconds. */
  readonly graceMs: number;
  /** Which TCP ports may be taken at every address for one; undefined for none. */
  readonly wildcard: WildcardRules | undefined;
  /** For URLs that listen; every VM where it is not said. */
  readonly peerCids: readonly VmPeers[];
  /** VMs that have to prove themselves. */
  readonly tokenFiles: readonly VmToken[];
  /** Host ports for those who leave the choice to us. */
  readonly portRange: PortRange;
  /** For each VM. */
  readonly links: ReadonlyMap<string, LinkPreferences>;
  /** How often a shim is asked whether it is there, milliseconds. */
  readonly heartbeatMs: number;
  readonly engine: EnginePreference;
  /** Threads of the Linux engine; from the cores when undefined. */
  readonly workers: number | undefined;
  /** What the configuration file says; the policy is in it. */
  readonly settings: Settings;
  /** Take the place of what the file says; undefined where no option does. */
  readonly unixDirectories: readonly string[] | undefined;
  readonly reverse: readonly string[] | undefined;
}

export interface LinkPreferences {
  readonly lane: LanePreference;
  readonly legacyPeer: boolean;
}

export interface HostOptions {
  readonly connect?: readonly string[];
  readonly listen?: readonly string[];
  readonly control?: readonly string[];
  readonly api?: string;
  readonly state?: string;
  readonly grace?: string;
  readonly wildcardPrivileged?: boolean;
  readonly wildcardBelow?: string;
  readonly peerCid?: readonly string[];
  readonly tokenFile?: readonly string[];
  readonly portRange?: string;
  readonly legacyPeer?: boolean;
  readonly lane?: string;
  readonly heartbeat?: string;
  readonly engine?: string;
  readonly workers?: string;
  readonly unixDirectory?: readonly string[];
  readonly allowReverse?: readonly string[];
}

/**
 * Checks the options of `portferry host-agent` and its configuration file once, at the edge.
 * @param given options that were given; they win over the file
 * @throws BridgeError BAD_REQUEST
 */
export function hostConfig(given: HostOptions, settings: Settings = NO_SETTINGS): HostConfig {
  const options = optionsWithFile(given, settings);
  const connect = (options.connect ?? []).map((text) => parseVmAddress(text, parseHostLink));
  const listen = (options.listen ?? []).map((text) => parseVmAddress(text, parseAddress));
  const control = (options.control ?? []).map((text) => parseVmAddress(text, parseAddress));
  const peerCids = (options.peerCid ?? []).map((text) => {
    const { vm, rest } = splitVmName(text);
    return { vm, peers: parsePeerCids(rest) };
  });
  const tokenFiles = (options.tokenFile ?? []).map(parseTokenFile);
  const vms = checkVms({ connect, listen, control, peerCids, tokenFiles }, settings);
  const links = new Map(vms.map((vm) => [vm, linkPreferences(vm, given, settings)]));
  const api = options.api === undefined ? undefined : apiAddress(options.api);
  const { state } = options;
  const graceMs = parseGrace(options.grace);
  const portRange = options.portRange === undefined ? EPHEMERAL : parsePortRange(options.portRange);
  const heartbeatMs = parseHeartbeat(options.heartbeat);
  const unixDirectories = options.unixDirectory?.map(checkDirectory);
  options.allowReverse?.forEach(parseDestinationRule);
  const rest = {
    api,
    state,
    graceMs,
    wildcard: wildcardRules(options),
    peerCids,
    tokenFiles,
    portRange,
    links,
    heartbeatMs,
    settings,
    unixDirectories,
    reverse: options.allowReverse,
    ...engineOptions(options),
  };
  return Object.freeze({ connect, listen, control, ...rest });
}

/** @throws BridgeError BAD_REQUEST for a path that no socket can have */
function apiAddress(path: string): ApiAddress {
  if (path === '')
    throw new BridgeError('BAD_REQUEST', '--api names no socket: give the path to serve it on');
  return parseApiAddress(path);
}

function linkPreferences(vm: string, given: HostOptions, file: Settings): LinkPreferences {
  const lane = given.lane ?? file.text('vm', vm, 'lane') ?? file.text('lane') ?? 'auto';
  if (!isLane(lane))
    throw new BridgeError('BAD_REQUEST', `unknown lane "${lane}"; known are ${LANES.join(', ')}`);
  const ofFile = file.flag('vm', vm, 'legacy-peer') ?? file.flag('legacy-peer') ?? false;
  return { lane, legacyPeer: given.legacyPeer ?? ofFile };
}

/** --wildcard-below is for tests: it makes other systems do what macOS needs. */
function wildcardRules({ wildcardPrivileged, wildcardBelow }: HostOptions): WildcardRules | undefined {
  if (wildcardBelow !== undefined) return { below: Number(wildcardBelow), always: true };
  return wildcardPrivileged === true ? { below: PRIVILEGED, always: false } : undefined;
}

/** Seconds, also parts of one. */
function parseGrace(text: string | undefined): number {
  if (text === undefined) return DEFAULT_GRACE_MS;
  const seconds = /^\d{1,6}(?:\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds <= MAX_GRACE_S))
    throw new BridgeError('BAD_REQUEST', `--grace ${text}: seconds from 0 to ${MAX_GRACE_S} are taken`);
  return Math.round(seconds * 1_000);
}

function parseVmAddress<Address>(text: string, parse: (url: string) => Address): VmAddress<Address> {
  const { vm, rest } = splitVmName(text);
  return { vm, address: parse(rest) };
}

function parseTokenFile(text: string): VmToken {
  const { vm, rest: path } = splitVmName(text);
  if (path === '') throw new BridgeError('BAD_REQUEST', `--token-file "${text}" names no file`);
  return { vm, path };
}

/** `FROM-TO`, or one port. */
function parsePortRange(text: string): PortRange {
  try {
    return readPorts(text, 0, text, '--port-range', 1);
  } catch (error) {
    const said = 'is no range of ports such as 50000-50999';
    throw new BridgeError('BAD_REQUEST', `--port-range ${JSON.stringify(text)} ${said}`, { cause: error });
  }
}

function isLane(text: string): text is LanePreference {
  return (LANES as readonly string[]).includes(text);
}
