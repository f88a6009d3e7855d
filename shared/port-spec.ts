import { createHash } from 'node:crypto';
import { type ForwardOptions, formatOptions, optionsStart, parseOptions } from './forward-options.ts';
import { formatEndpoint } from './ip.ts';
import { type Cursor, refuse, takeAddress, takeColon, takePart, takePort } from './port-spec-cursor.ts';

/**
 * One forward, and its full notation, the one that names it in the control filesystem, in the API and in state files:
 * `tcp:0.0.0.0:8080:tcp:172.17.0.2:80`, `udp:[::1]:53:udp:[fd00::2]:53`,
 * `unix:<base64 of the host path>:unix:<base64 of the VM path>`, each with options behind a `?` (forward-options.ts).
 */

export interface InetSpec {
  readonly protocol: 'tcp' | 'udp';
  /** Canonical address on the host; 0.0.0.0 or :: stand for all of their family. */
  readonly hostIp: string;
  /** 0 asks for any free port. */
  readonly hostPort: number;
  readonly vmIp: string;
  readonly vmPort: number;
  readonly options?: ForwardOptions;
}

export interface UnixSpec {
  readonly protocol: 'unix';
  readonly hostPath: string;
  readonly vmPath: string;
  readonly options?: ForwardOptions;
}

export type PortSpec = InetSpec | UnixSpec;

/**
 * sun_path of Linux holds 108 bytes with the terminating NUL (unix(7)). macOS holds four fewer; the side that opens the
 * socket knows its own system and refuses there.
 */
export const MAX_UNIX_PATH_BYTES = 107;

/** Standard alphabet with padding (RFC 4648, section 4). */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

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

/** The canonical full notation: `parseSpec(formatSpec(spec))` equals `spec` for every spec that parseSpec made. */
export function formatSpec(spec: PortSpec): string {
  if (spec.protocol === 'unix') {
    return `unix:${encodePath(spec.hostPath)}:unix:${encodePath(spec.vmPath)}${formatOptions(spec.options)}`;
  }
  const { protocol, hostIp, hostPort, vmIp, vmPort, options } = spec;
  const ends = `${protocol}:${formatEndpoint(hostIp, hostPort)}:${protocol}:${formatEndpoint(vmIp, vmPort)}`;
  return `${ends}${formatOptions(options)}`;
}

/** What is taken on the host: `0.0.0.0:8080`, `[::1]:53` or a path. For messages. */
export function hostEnd(spec: PortSpec): string {
  return spec.protocol === 'unix' ? spec.hostPath : formatEndpoint(spec.hostIp, spec.hostPort);
}

/** What is dialled in the VM: `172.17.0.2:80`, `[fd00::2]:53` or a path. For messages. */
export function vmEnd(spec: PortSpec): string {
  return spec.protocol === 'unix' ? spec.vmPath : formatEndpoint(spec.vmIp, spec.vmPort);
}

/**
 * Directory name of a forward in the control filesystem: the full notation, except for unix sockets, whose base64 may
 * hold `/` and is longer than a file name may be; these get 64 bits of a hash of it.
 */
export function entryName(spec: PortSpec): string {
  const text = formatSpec(spec);
  if (spec.protocol !== 'unix') return text;
  return `unix-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}

function takeProtocol(cursor: Cursor): PortSpec['protocol'] {
  const start = cursor.position;
  const part = takePart(cursor);
  if (part === 'tcp' || part === 'udp' || part === 'unix') return part;
  if (part === 'sctp') refuse(cursor.text, start, 'sctp is not supported');
  refuse(cursor.text, start, 'expected tcp, udp or unix');
}

function takeSameProtocol(cursor: Cursor, protocol: PortSpec['protocol']): void {
  takeColon(cursor, 'the second protocol');
  const start = cursor.position;
  if (takePart(cursor) !== protocol) refuse(cursor.text, start, `expected ${protocol} as on the host side`);
}

function parseInet(cursor: Cursor, protocol: 'tcp' | 'udp'): InetSpec {
  takeColon(cursor, 'the host address');
  const hostIp = takeAddress(cursor, 'the host address');
  takeColon(cursor, 'the host port');
  const hostPort = takePort(cursor, 'the host port', 0);
  takeSameProtocol(cursor, protocol);
  takeColon(cursor, 'the VM address');
  const vmIp = takeAddress(cursor, 'the VM address');
  takeColon(cursor, 'the VM port');
  const vmPort = takePort(cursor, 'the VM port', 1);
  expectEnd(cursor);
  return { protocol, hostIp, hostPort, vmIp, vmPort };
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

function encodePath(path: string): string {
  return Buffer.from(path, 'utf8').toString('base64');
}

function takePath(cursor: Cursor, what: string): string {
  const start = cursor.position;
  const part = takePart(cursor);
  if (part === '') refuse(cursor.text, start, `${what} is empty`);
  const bytes = Buffer.from(part, 'base64');
  // Decoding is lenient about bits behind the last byte; encoding again shows them, and one path keeps one name.
  if (!BASE64.test(part) || bytes.toString('base64') !== part) {
    refuse(cursor.text, start, `${what} is not in padded standard base64`);
  }
  const problem = pathProblem(bytes);
  if (problem !== undefined) refuse(cursor.text, start, `${what} ${problem}`);
  return utf8.decode(bytes);
}

function pathProblem(bytes: Buffer): string | undefined {
  if (bytes[0] !== 0x2f) return 'is not absolute';
  if (bytes.includes(0)) return 'holds a NUL byte';
  if (bytes.length > MAX_UNIX_PATH_BYTES) {
    return `is ${bytes.length} bytes long, a unix socket takes ${MAX_UNIX_PATH_BYTES}`;
  }
  try {
    utf8.decode(bytes);
  } catch {
    return 'is not UTF-8';
  }
  return undefined;
}
