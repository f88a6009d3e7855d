import { isIP } from 'node:net';
import { BridgeError } from './errors.ts';

/**
 * IP addresses as text and as bytes. Only the strict forms pass (no leading zeros, no short IPv4), and every address
 * has one canonical text (RFC 5952), so that two spellings of one address compare equal as strings.
 */

/** Longest zone: an interface name without its NUL (IFNAMSIZ is 16 on Linux and macOS; Windows has numbers). */
const MAX_ZONE = 15;

export interface IpAddress {
  readonly family: 4 | 6;
  /** 4 or 16 bytes in network order. */
  readonly bytes: Buffer;
  /** Zone id of a scoped IPv6 address without the `%` (RFC 4007); empty when there is none. */
  readonly zone: string;
}

/** First 12 bytes of `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2). */
const MAPPED_PREFIX = Buffer.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/**
 * Reads an address. IPv4-mapped IPv6 comes out as IPv4, because that is the peer it names.
 * @returns undefined for anything that is not one strict address; an IPv4-mapped one with a zone names nothing
 */
export function parseIp(text: string): IpAddress | undefined {
  const family = isIP(text);
  if (family === 4) return { family: 4, bytes: ipv4Bytes(text), zone: '' };
  if (family !== 6) return undefined;
  const percent = text.indexOf('%');
  const zone = percent < 0 ? '' : text.slice(percent + 1);
  if (zone.length > MAX_ZONE) return undefined;
  const bytes = ipv6Bytes(percent < 0 ? text : text.slice(0, percent));
  if (!isMapped(bytes)) return { family: 6, bytes, zone };
  return zone === '' ? { family: 4, bytes: bytes.subarray(12), zone: '' } : undefined;
}

/** Canonical text: dotted IPv4, or RFC 5952 with `%zone` kept as it is. */
export function formatIp(address: IpAddress): string {
  if (address.family === 4) return address.bytes.join('.');
  const text = ipv6Text(address.bytes);
  return address.zone === '' ? text : `${text}%${address.zone}`;
}

/** Canonical text of an address, or undefined when it is none. */
export function canonicalIp(text: string): string | undefined {
  const address = parseIp(text);
  return address === undefined ? undefined : formatIp(address);
}

/**
 * Bytes in network order, 4 or 16 (IPv4-mapped gives 4); a zone is not part of them.
 * @throws BridgeError BAD_REQUEST when the text is no address
 */
export function ipToBytes(text: string): Buffer {
  const address = parseIp(text);
  if (address === undefined)
    throw new BridgeError('BAD_REQUEST', `not an IP address: ${JSON.stringify(text)}`);
  return address.bytes;
}

/**
 * Canonical text of 4 or 16 bytes; 16 IPv4-mapped bytes give IPv4 (and then the zone means nothing and is dropped).
 * @throws BridgeError BAD_REQUEST for another number of bytes
 */
export function ipFromBytes(bytes: Buffer, zone = ''): string {
  if (bytes.length === 4) return formatIp({ family: 4, bytes, zone: '' });
  if (bytes.length !== 16) {
    throw new BridgeError('BAD_REQUEST', `an IP address has 4 or 16 bytes, not ${bytes.length}`);
  }
  if (isMapped(bytes)) return formatIp({ family: 4, bytes: bytes.subarray(12), zone: '' });
  return formatIp({ family: 6, bytes, zone });
}

/** 4 or 6, or undefined when the text is no address. */
export function familyOf(text: string): 4 | 6 | undefined {
  return parseIp(text)?.family;
}

/** Order of canonical addresses: IPv4 first, then by number, then by zone. */
export function compareIps(a: string, b: string): number {
  const [first, second] = [parseIp(a), parseIp(b)];
  if (first === undefined || second === undefined) return a < b ? -1 : a > b ? 1 : 0;
  if (first.family !== second.family) return first.family - second.family;
  const order = Buffer.compare(first.bytes, second.bytes);
  return order !== 0 ? order : Buffer.compare(Buffer.from(first.zone), Buffer.from(second.zone));
}

/** True for 127.0.0.0/8 and ::1, however they are written. */
export function isLoopback(text: string): boolean {
  const address = parseIp(text);
  if (address === undefined) return false;
  if (address.family === 4) return address.bytes[0] === 127;
  return address.bytes[15] === 1 && address.bytes.subarray(0, 15).every((byte) => byte === 0);
}

/** True for 0.0.0.0 and ::, which stand for every address of their family. */
export function isUnspecified(text: string): boolean {
  const address = parseIp(text);
  return address?.bytes.every((byte) => byte === 0) ?? false;
}

/** Whether two canonical addresses are one, or one of them stands for all of the other's family. */
export function ipsOverlap(a: string, b: string): boolean {
  return a === b || (familyOf(a) === familyOf(b) && (isUnspecified(a) || isUnspecified(b)));
}

/** True for fe80::/10, whose addresses mean something only together with a zone (RFC 4291, 2.5.6). */
export function isLinkLocal(text: string): boolean {
  const address = parseIp(text);
  return address?.family === 6 && address.bytes[0] === 0xfe && (address.bytes[1]! & 0xc0) === 0x80;
}

/** True for an address that needs a zone or has one. */
export function isScoped(text: string): boolean {
  return isLinkLocal(text) || (parseIp(text)?.zone ?? '') !== '';
}

/** `IP:PORT` as people and specs write it: IPv6 in brackets, several addresses with commas, any text for the port. */
export function formatEndpoint(ip: string | readonly string[], port: number | string): string {
  const ips = typeof ip === 'string' ? [ip] : ip;
  return `${ips.map((each) => (each.includes(':') ? `[${each}]` : each)).join(',')}:${port}`;
}

function isMapped(bytes: Buffer): boolean {
  return MAPPED_PREFIX.every((byte, i) => bytes[i] === byte);
}

function ipv4Bytes(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

/** The text has passed isIP, so it has at most one `::`, which stands for at least one group. */
function ipv6Bytes(text: string): Buffer {
  const [head = '', tail] = text.split('::');
  const front = groupBytes(head);
  const back = tail === undefined ? [] : groupBytes(tail);
  const bytes = Buffer.alloc(16);
  bytes.set(front, 0);
  bytes.set(back, 16 - back.length);
  return bytes;
}

function groupBytes(groups: string): number[] {
  if (groups === '') return [];
  return groups.split(':').flatMap((group) => {
    if (group.includes('.')) return Array.from(ipv4Bytes(group));
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/** RFC 5952: lower case, no leading zeros, the first of the longest runs of two or more zero groups shortened. */
function ipv6Text(bytes: Buffer): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  const run = longestZeroRun(groups);
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}
