import { createHash, randomBytes } from 'node:crypto';
import { type ForwardOptions, formatOptions, optionsStart, parseOptions } from './forward-options.ts';
import { formatEndpoint, isScoped } from './ip.ts';
import { formatPorts, onePort, type PortRange, portCount } from './port-range.ts';
import {
  type Cursor,
  refuse,
  takeAddress,
  takeAddresses,
  takeColon,
  takePart,
  takePorts,
} from './port-spec-cursor.ts';
import { isChoice } from './ports/endpoints.ts';
import { decodePath, encodePath } from './spec-path.ts';

/**
 * One forward, and its full notation, the one that names it in the control filesystem, in the API and in state files:
 * `tcp:0.0.0.0:8080:tcp:172.17.0.2:80`, `udp:[::1]:53:udp:[fd00::2]:53`,
 * `tcp:127.0.0.1,[::1]:8000-8099:tcp:172.17.0.2:8000-8099`,
 * `unix:<base64 of the host path>:unix:<base64 of the VM path>`, each with options behind a `?` (forward-options.ts).
 */

export interface InetSpec {
  readonly protocol: 'tcp' | 'udp';
  /**
   * Canonical addresses on the host, at least one, in their canonical order (compareIps): the same ports are taken at
   * each. 0.0.0.0 or :: stand for all of their family.
   */
  readonly hostIps: readonly string[];
  /**
   * As many ports as in the VM, one for each. Port 0 asks for any free ones in a row. A range that leads to one port
   * in the VM asks for any free one of it.
   */
  readonly hostPorts: PortRange;
  readonly vmIp: string;
  readonly vmPorts: PortRange;
  readonly options?: ForwardOptions;
}

export interface UnixSpec {
  readonly protocol: 'unix';
  readonly hostPath: string;
  readonly vmPath: string;
  readonly options?: ForwardOptions;
}

export type PortSpec = InetSpec | UnixSpec;

/** NAME_MAX of Linux. */
const MAX_NAME_BYTES = 255;

/** Most ports that one request publishes; at several addresses they count once. */
export const MAX_RANGE = 1_024;

/** A destination on the wire (docs/protocol.md) is the bytes of an address, without a zone. */
export const SCOPED_REFUSED =
  'is link-local or has a zone, which would not reach the VM: take another of its addresses';

/**
 * Reads the full notation. Nothing is trimmed or guessed.
 * @throws BridgeError BAD_SPEC with the 0-based position and the reason
 */
export function parseSpec(text: string): PortSpec {
  const cursor: Cursor = { text, end: optionsStart(text), position: 0 };
  const protocol = takeProtocol(cursor);
  const spec = protocol === 'unix' ? parseUnix(cursor) : parseInet(cursor, protocol);
  return withOptions(spec, parseOptions(text, cursor.end, protocol));
}

/** The spec with these options and no others. */
export function withOptions<Spec extends PortSpec>(spec: Spec, options: ForwardOptions | undefined): Spec {
  const { options: _, ...bare } = spec;
  return (options === undefined ? bare : { ...bare, options }) as Spec;
}

/** The spec of one host port at one address. */
export function onePortSpec(parts: {
  readonly protocol: 'tcp' | 'udp';
  readonly hostIp: string;
  readonly hostPort: number;
  readonly vmIp: string;
  readonly vmPort: number;
}): InetSpec {
  const { protocol, hostIp, hostPort, vmIp, vmPort } = parts;
  return { protocol, hostIps: [hostIp], hostPorts: onePort(hostPort), vmIp, vmPorts: onePort(vmPort) };
}

/** The canonical full notation: `parseSpec(formatSpec(spec))` equals `spec` for every spec that parseSpec made. */
export function formatSpec(spec: PortSpec): string {
  if (spec.protocol === 'unix') {
    return `unix:${encodePath(spec.hostPath)}:unix:${encodePath(spec.vmPath)}${formatOptions(spec.options)}`;
  }
  const { protocol, options } = spec;
  return `${protocol}:${hostEnd(spec)}:${protocol}:${vmEnd(spec)}${formatOptions(options)}`;
}

/** What is taken on the host: `0.0.0.0:8080`, `127.0.0.1,[::1]:8000-8099` or a path. */
export function hostEnd(spec: PortSpec): string {
  if (spec.protocol === 'unix') return spec.hostPath;
  return formatEndpoint(spec.hostIps, formatPorts(spec.hostPorts));
}

/** What is dialled in the VM: `172.17.0.2:80`, `[fd00::2]:8000-8099` or a path. */
export function vmEnd(spec: PortSpec): string {
  return spec.protocol === 'unix' ? spec.vmPath : formatEndpoint([spec.vmIp], formatPorts(spec.vmPorts));
}

/**
 * Directory name of a forward in the control filesystem: the full notation, except where it is longer than a file name
 * may be, and for unix sockets, whose base64 may hold `/`; these get 64 bits of a hash of it. Who leaves the host ports
 * open may ask twice, for others each time, so such a name ends in 64 random bits.
 */
export function entryName(spec: PortSpec): string {
  const text = formatSpec(spec);
  const ending = spec.protocol !== 'unix' && isChoice(spec) ? `#${randomBytes(8).toString('hex')}` : '';
  if (spec.protocol !== 'unix' && Buffer.byteLength(text + ending) <= MAX_NAME_BYTES) return text + ending;
  return `${spec.protocol}-${createHash('sha256').update(text).digest('hex').slice(0, 16)}${ending}`;
}

function takeProtocol(cursor: Cursor): PortSpec['protocol'] {
  const start = cursor.position;
  const part = takePart(cursor);
  if (part === 'tcp' || part === 'udp' || part === 'unix') return part;
  if (part === 'sctp') refuse(cursor.text, start, 'sctp is not supported');
  if (part === 'reverse')
    refuse(
      cursor.text,
      start,
      'reverse forwards are made through the API of the host agent only (portferry expose --reverse)',
    );
  refuse(cursor.text, start, 'expected tcp, udp or unix');
}

function takeSameProtocol(cursor: Cursor, protocol: PortSpec['protocol']): void {
  takeColon(cursor, 'the second protocol');
  const start = cursor.position;
  if (takePart(cursor) !== protocol) refuse(cursor.text, start, `expected ${protocol} as on the host side`);
}

function parseInet(cursor: Cursor, protocol: 'tcp' | 'udp'): InetSpec {
  takeColon(cursor, 'the host address');
  const hostIps = takeAddresses(cursor, 'the host address');
  takeColon(cursor, 'the host port');
  const hostPorts = takePorts(cursor, 'the host port', 0);
  takeSameProtocol(cursor, protocol);
  takeColon(cursor, 'the VM address');
  const vmStart = cursor.position;
  const vmIp = takeAddress(cursor, 'the VM address');
  if (isScoped(vmIp)) refuse(cursor.text, vmStart, `the VM address ${SCOPED_REFUSED}`);
  takeColon(cursor, 'the VM port');
  const start = cursor.position;
  const vmPorts = takePorts(cursor, 'the VM port', 1);
  checkPorts(cursor.text, start, hostPorts, vmPorts);
  expectEnd(cursor);
  return { protocol, hostIps, hostPorts, vmIp, vmPorts };
}

/** Refuses ranges that do not belong together. @param start where the VM's begins */
export function checkPorts(text: string, start: number, hostPorts: PortRange, vmPorts: PortRange): void {
  const [taken, dialled] = [portCount(hostPorts), portCount(vmPorts)];
  if (dialled > MAX_RANGE)
    refuse(text, start, `${dialled} ports are more than the ${MAX_RANGE} that one request may have`);
  if (dialled > 1 && dialled !== taken && hostPorts.first !== 0)
    refuse(text, start, `${dialled} ports in the VM do not belong to ${taken} on the host`);
}

function parseUnix(cursor: Cursor): UnixSpec {
  takeColon(cursor, 'the host path');
  const hostPath = takePath(cursor, 'the host path');
  takeSameProtocol(cursor, 'unix');
  takeColon(cursor, 'the VM path');
  const vmPath = takePath(cursor, 'the VM path');
  expectEnd(cursor);
  return { protocol: 'unix', hostPath, vmPath };
}

function expectEnd(cursor: Cursor): void {
  if (cursor.position < cursor.end) refuse(cursor.text, cursor.position, 'expected the end');
}

function takePath(cursor: Cursor, what: string): string {
  const start = cursor.position;
  const path = decodePath(takePart(cursor));
  if (typeof path !== 'string') refuse(cursor.text, start, `${what} ${path.problem}`);
  return path;
}
