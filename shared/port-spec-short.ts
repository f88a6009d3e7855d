import { BridgeError } from './errors.ts';
import { optionsStart, parseOptions } from './forward-options.ts';
import { canonicalIp, isScoped } from './ip.ts';
import { onePort, type PortRange } from './port-range.ts';
import {
  checkPorts,
  type InetSpec,
  type PortSpec,
  parseSpec,
  SCOPED_REFUSED,
  withOptions,
} from './port-spec.ts';
import { type Cursor, readPorts, refuse, takeAddresses, takePorts } from './port-spec-cursor.ts';

/**
 * The short notation of the command line, after docker's `-p`: `[ip:][port:]containerPort[/tcp|/udp][?options]`.
 *
 * | written | host side |
 * |---|---|
 * | `80` | 127.0.0.1, any free port |
 * | `:80` | 127.0.0.1, the same port |
 * | `8080:80` | 127.0.0.1, port 8080 |
 * | `ip:8080:80` | that address, port 8080 |
 * | `ip::80` | that address, any free port |
 * | `127.0.0.1,[::1]:8080:80` | both addresses, port 8080 |
 * | `8000-8099:8000-8099`, `:8000-8099` | 127.0.0.1, each of these ports |
 * | `8000-8010:80` | 127.0.0.1, any free one of these ports |
 * | `8000-8099` | 127.0.0.1, any 100 free ports in a row |
 *
 * Unlike docker's, no address means loopback: whoever wants the network to reach the port writes `0.0.0.0` or `[::]`.
 */

/** Address in the VM when the caller names none. */
const DEFAULT_TO = '127.0.0.1';
const LOOPBACK = '127.0.0.1';

export interface ShortSpecOptions {
  /** Address in the VM, IPv4 or IPv6 without brackets; 127.0.0.1 unless told, whatever the host address is. */
  readonly to?: string | undefined;
}

/**
 * Reads the short notation.
 * @throws BridgeError BAD_SPEC with the 0-based position and the reason; BAD_REQUEST when `to` is no address
 */
export function parseShortSpec(text: string, options: ShortSpecOptions = {}): InetSpec {
  const vmIp = vmAddress(options.to ?? DEFAULT_TO);
  const mark = optionsStart(text);
  const slash = text.slice(0, mark).indexOf('/');
  const end = slash < 0 ? mark : slash;
  const protocol = slash < 0 ? 'tcp' : readProtocol(text, slash + 1, mark);
  return withOptions(readShort(text, end, protocol, vmIp), parseOptions(text, mark, protocol));
}

function readShort(text: string, end: number, protocol: 'tcp' | 'udp', vmIp: string): InetSpec {
  const cursor: Cursor = { text, end, position: 0 };
  if (beginsWithAddress(text, end)) {
    const hostIps = takeAddresses(cursor, 'the host address');
    return { protocol, hostIps, ...portsAfterAddress(cursor), vmIp };
  }
  return { protocol, hostIps: [LOOPBACK], ...portsAlone(cursor), vmIp };
}

/**
 * Reads what the command line takes: the full notation when it begins with its protocol, else the short one.
 * @throws as parseSpec and parseShortSpec
 */
export function parseCommandLineSpec(text: string, options: ShortSpecOptions = {}): PortSpec {
  return /^(?:tcp|udp|unix|sctp|reverse):/.test(text) ? parseSpec(text) : parseShortSpec(text, options);
}

function vmAddress(to: string): string {
  const address = canonicalIp(to);
  if (address === undefined) {
    throw new BridgeError('BAD_REQUEST', `the address in the VM is no IP address: ${JSON.stringify(to)}`);
  }
  if (isScoped(address))
    throw new BridgeError('BAD_REQUEST', `the address in the VM, ${address}, ${SCOPED_REFUSED}`);
  return address;
}

function readProtocol(text: string, start: number, end: number): 'tcp' | 'udp' {
  const name = text.slice(start, end);
  if (name === 'tcp' || name === 'udp') return name;
  refuse(text, start, name === 'sctp' ? 'sctp is not supported' : 'expected tcp or udp after "/"');
}

/** Two colons or more, a bracket or a dot: an address. Digits alone are a port. */
function beginsWithAddress(text: string, end: number): boolean {
  if (text[0] === '[') return true;
  const parts = text.slice(0, end).split(':');
  return parts.length > 2 || (parts.length === 2 && parts[0]!.includes('.'));
}

interface Ports {
  readonly hostPorts: PortRange;
  readonly vmPorts: PortRange;
}

function portsAfterAddress(cursor: Cursor): Ports {
  const { text, end } = cursor;
  const rest = text.slice(cursor.position, end);
  if (!/^:[^:]*:/.test(rest)) {
    // docker refuses it too: after an address, one port could be either side's.
    refuse(text, cursor.position, 'expected ":port:containerPort", or "::containerPort" for any free port');
  }
  cursor.position++;
  if (text[cursor.position] !== ':') return portsOfBoth(cursor);
  cursor.position++;
  return anyFree(cursor);
}

function portsAlone(cursor: Cursor): Ports {
  const { text, end } = cursor;
  const colon = text.indexOf(':');
  if (colon < 0 || colon >= end) return anyFree(cursor);
  if (colon > 0) return portsOfBoth(cursor);
  cursor.position = 1;
  const vmPorts = anyFree(cursor).vmPorts;
  return { hostPorts: vmPorts, vmPorts };
}

function anyFree(cursor: Cursor): Ports {
  return withHost(onePort(0), cursor);
}

function portsOfBoth(cursor: Cursor): Ports {
  const hostPorts = takePorts(cursor, 'the host port', 0);
  cursor.position++;
  return withHost(hostPorts, cursor);
}

/** The rest up to the protocol is the container's port: a further colon is refused with it. */
function withHost(hostPorts: PortRange, cursor: Cursor): Ports {
  const { text, position, end } = cursor;
  const part = text.slice(position, end);
  if (part === '') refuse(text, position, 'the container port is empty');
  const vmPorts = readPorts(text, position, part, 'the container port', 1);
  checkPorts(text, position, hostPorts, vmPorts);
  return { hostPorts, vmPorts };
}
