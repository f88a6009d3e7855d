import { ipToBytes } from '../../shared/ip.ts';
import type { ClientAddress } from '../../shared/stream-details.ts';

/**
 * The header of the PROXY protocol (haproxy.org/download/2.9/doc/proxy-protocol.txt), which tells a container who its
 * client is. It goes in front of the client's first byte.
 */

/** Both ends of the client's connection to the host port. */
export interface ClientEnds {
  readonly client: ClientAddress;
  /** The address that the client connected to. */
  readonly local: ClientAddress;
}

/** Section 2.2: 12 bytes that no other protocol begins with. */
const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
/** High half: version 2. Low half: LOCAL (nothing is said of the client) or PROXY. */
const LOCAL = 0x20;
const PROXY = 0x21;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;

/**
 * @param ends undefined where the client has no address, as on a unix socket
 * @returns at most 107 bytes
 */
export function proxyHeader(version: 'v1' | 'v2', ends: ClientEnds | undefined): Buffer {
  const known = ends === undefined ? undefined : addressesOf(ends);
  return version === 'v1' ? textHeader(known) : binaryHeader(known);
}

interface Addresses {
  readonly client: Buffer;
  readonly local: Buffer;
  readonly ends: ClientEnds;
}

function addressesOf(ends: ClientEnds): Addresses | undefined {
  const client = Buffer.from(ipToBytes(withoutZone(ends.client.ip)));
  const local = Buffer.from(ipToBytes(withoutZone(ends.local.ip)));
  // One header has one family; the ends of one connection have too.
  return client.length === local.length ? { client, local, ends } : undefined;
}

function textHeader(known: Addresses | undefined): Buffer {
  if (known === undefined) return Buffer.from('PROXY UNKNOWN\r\n');
  const { client, local } = known.ends;
  const family = known.client.length === 4 ? 'TCP4' : 'TCP6';
  const [from, to] = [withoutZone(client.ip), withoutZone(local.ip)];
  return Buffer.from(`PROXY ${family} ${from} ${to} ${client.port} ${local.port}\r\n`);
}

function binaryHeader(known: Addresses | undefined): Buffer {
  if (known === undefined) return Buffer.concat([SIGNATURE, Buffer.from([LOCAL, 0, 0, 0])]);
  const { client, local, ends } = known;
  const fixed = Buffer.alloc(4);
  fixed[0] = PROXY;
  fixed[1] = client.length === 4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
  fixed.writeUInt16BE(2 * client.length + 4, 2);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(ends.client.port, 0);
  ports.writeUInt16BE(ends.local.port, 2);
  return Buffer.concat([SIGNATURE, fixed, client, local, ports]);
}

/** `fe80::1%eth0` is an address of this machine's; the header has no place for the interface. */
function withoutZone(ip: string): string {
  return ip.split('%')[0]!;
}
