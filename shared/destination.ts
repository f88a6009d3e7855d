import { BridgeError } from './errors.ts';
import { ipFromBytes, ipToBytes } from './ip.ts';

/** What the VM side dials. */
export type Destination = TcpDestination | UdpDestination | UnixDestination;

export interface TcpDestination {
  readonly protocol: 'tcp';
  readonly ip: string;
  readonly port: number;
}

export interface UdpDestination {
  readonly protocol: 'udp';
  readonly ip: string;
  readonly port: number;
}

export interface UnixDestination {
  readonly protocol: 'unix';
  readonly path: string;
}

/** Protocol numbers of vpnkit's Open frame, used by our preface as well. */
export const PROTOCOL_NUMBER = { tcp: 1, udp: 2, unix: 3 } as const;

const PROTOCOL_BY_NUMBER = ['tcp', 'udp', 'unix'] as const;

/** Longest path a destination may carry, bytes; Linux's sockaddr_un holds 108 (unix(7)), other systems less. */
export const MAX_PATH_BYTES = 4096;

/**
 * vpnkit's layout, little-endian: u8 protocol, then u16 length + IP bytes (4 or 16) + u16 port,
 * or u16 length + path.
 */
export function encodeDestination(destination: Destination): Buffer {
  if (destination.protocol === 'unix') {
    const path = Buffer.from(destination.path);
    const out = Buffer.allocUnsafe(3 + path.length);
    out[0] = PROTOCOL_NUMBER.unix;
    out.writeUInt16LE(path.length, 1);
    path.copy(out, 3);
    return out;
  }
  const ip = ipToBytes(destination.ip);
  const out = Buffer.allocUnsafe(5 + ip.length);
  out[0] = PROTOCOL_NUMBER[destination.protocol];
  out.writeUInt16LE(ip.length, 1);
  out.set(ip, 3);
  out.writeUInt16LE(destination.port, 3 + ip.length);
  return out;
}

/**
 * Decodes a destination that starts at `offset`.
 * @returns the destination and the offset behind it
 * @throws BridgeError PROTOCOL when it is cut short, of an unknown protocol, or not an address
 */
export function decodeDestination(bytes: Buffer, offset: number): { destination: Destination; end: number } {
  if (bytes.length < offset + 3) throw new BridgeError('PROTOCOL', 'destination cut short');
  const number = bytes[offset]!;
  const protocol = PROTOCOL_BY_NUMBER[number - 1];
  if (protocol === undefined) throw new BridgeError('PROTOCOL', `unknown destination protocol ${number}`);
  const length = bytes.readUInt16LE(offset + 1);
  const start = offset + 3;
  const end = start + length;
  if (protocol === 'unix') {
    if (length === 0 || length > MAX_PATH_BYTES)
      throw new BridgeError('PROTOCOL', `destination path of ${length} bytes`);
    if (bytes.length < end) throw new BridgeError('PROTOCOL', 'destination cut short');
    const path = bytes.toString('utf8', start, end);
    if (path.includes('\0')) throw new BridgeError('PROTOCOL', 'destination path holds a NUL byte');
    return { destination: { protocol, path }, end };
  }
  if (length !== 4 && length !== 16) throw new BridgeError('PROTOCOL', `IP address of ${length} bytes`);
  if (bytes.length < end + 2) throw new BridgeError('PROTOCOL', 'destination cut short');
  const ip = ipFromBytes(bytes.subarray(start, end));
  return { destination: { protocol, ip, port: bytes.readUInt16LE(end) }, end: end + 2 };
}

/** `tcp 172.17.0.2:80`, `tcp [fd00::2]:80` or `unix /run/x.sock`, for logs and error texts. */
export function describeDestination(destination: Destination): string {
  if (destination.protocol === 'unix') return `unix ${destination.path}`;
  const host = destination.ip.includes(':') ? `[${destination.ip}]` : destination.ip;
  return `${destination.protocol} ${host}:${destination.port}`;
}
