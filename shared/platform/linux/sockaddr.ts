/**
 * Socket addresses as the kernel lays them out, in the byte order of x86-64 and arm64 (little-endian), with
 * ports and IP addresses in network order: ip(7), ipv6(7), unix(7), vsock(7).
 */
import { networkInterfaces } from 'node:os';
import { BridgeError } from '../../errors.ts';
import { ipFromBytes, ipToBytes } from '../../ip.ts';
import type { PlainAddress } from '../../transport/address.ts';
import { AF_INET, AF_INET6, AF_UNIX, AF_VSOCK } from './constants.ts';

export type SocketAddress =
  | { readonly family: 'ip'; readonly ip: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: string }
  | { readonly family: 'vsock'; readonly cid: number; readonly port: number };

/** Largest that we encode: sockaddr_un, 2 + 108 bytes. */
export const MAX_SOCKADDR_BYTES = 110;
const SUN_PATH_BYTES = 108;

/** @throws BridgeError BAD_REQUEST for a path that sockaddr_un cannot hold with its NUL */
export function encodeSockaddr(address: SocketAddress): Buffer {
  if (address.family === 'unix') {
    const path = Buffer.from(address.path);
    if (path.length === 0 || path.length >= SUN_PATH_BYTES)
      throw new BridgeError(
        'BAD_REQUEST',
        `a socket's path may have ${SUN_PATH_BYTES - 1} bytes at the most`,
        {
          errno: 'ENAMETOOLONG',
        },
      );
    const out = Buffer.alloc(2 + path.length + 1);
    out.writeUInt16LE(AF_UNIX, 0);
    path.copy(out, 2);
    return out;
  }
  if (address.family === 'vsock') {
    const out = Buffer.alloc(16);
    out.writeUInt16LE(AF_VSOCK, 0);
    out.writeUInt32LE(address.port, 4);
    out.writeUInt32LE(address.cid, 8);
    return out;
  }
  const [ip = '', zone] = address.ip.split('%');
  const bytes = ipToBytes(ip);
  const v6 = bytes.length === 16;
  const out = Buffer.alloc(v6 ? 28 : 16);
  out.writeUInt16LE(v6 ? AF_INET6 : AF_INET, 0);
  out.writeUInt16BE(address.port, 2);
  out.set(bytes, v6 ? 8 : 4);
  if (v6 && zone !== undefined) out.writeUInt32LE(scopeOf(zone), 24);
  return out;
}

/** The socket address of a transport. */
export function transportSockaddr(address: PlainAddress): SocketAddress {
  if (address.scheme === 'unix') return { family: 'unix', path: address.path };
  if (address.scheme === 'vsock') return { family: 'vsock', cid: address.cid, port: address.port };
  return { family: 'ip', ip: address.host, port: address.port };
}

/** The family of an encoded address. */
export function familyOf(sockaddr: Buffer): number {
  return sockaddr.readUInt16LE(0);
}

/** The IP address and port that the kernel wrote; undefined for other families. */
export function decodeIp(sockaddr: Buffer): { ip: string; port: number } | undefined {
  const family = sockaddr.readUInt16LE(0);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const ip = family === AF_INET ? sockaddr.subarray(4, 8) : sockaddr.subarray(8, 24);
  return { ip: ipFromBytes(ip), port: sockaddr.readUInt16BE(2) };
}

/** Whether TCP runs in a family. */
export function isIp(family: number): boolean {
  return family === AF_INET || family === AF_INET6;
}

/** The CID of a vsock address that the kernel wrote; undefined for other families. */
export function cidOf(sockaddr: Buffer): number | undefined {
  return familyOf(sockaddr) === AF_VSOCK ? sockaddr.readUInt32LE(8) : undefined;
}

/** A zone is an interface's name or its number. */
function scopeOf(zone: string): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  return (
    networkInterfaces()[zone]?.find((each) => each.family === 'IPv6' && each.scopeid !== 0)?.scopeid ?? 0
  );
}
