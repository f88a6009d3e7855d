import { networkInterfaces } from 'node:os';
import { ipFromBytes, ipToBytes, isUnspecified } from '../../../shared/ip.ts';
import {
  encodePktinfo,
  INTERFACE_BEHIND_ADDRESS,
  isInet,
  SOCKADDR_IN_BYTES,
  SOCKADDR_IN6_BYTES,
} from '../../../shared/platform/linux/datagrams/message-layout.ts';
import type { DatagramTarget } from '../../../shared/platform/linux/datagrams/send-batch.ts';
import { flowKey } from '../../../shared/relay/udp-flows.ts';
import { encodeFlowFrame, type UdpAddress, UNKNOWN_ADDRESS } from '../../../shared/relay/udp-frame.ts';

/**
 * Who a datagram is from and what it was sent to, as words of what the kernel wrote:
 * IPv4: family and port, address, local address. IPv6: family and port, four words of the address, its scope, four
 * words of the local address, the interface of a link-local one.
 */
const WORDS_4 = 3;
export const WORDS_6 = 11;

/** A client at a local address, and all that its datagrams need on their way. */
export interface Client extends DatagramTarget {
  readonly flow: number;
  /** In front of each of its datagrams on the stream. */
  readonly header: Buffer;
  readonly words: Uint32Array;
  /** When its flow was last touched. */
  touched: number;
  /** The next one with the same hash. */
  next: Client | undefined;
}

/**
 * Reads the words of a received datagram.
 * @param sender where in `words` its socket address is
 * @param local where the local address is, -1 when it is not told
 * @returns how many they are
 */
export function readKey(words: Uint32Array, sender: number, local: number, key: Uint32Array): number {
  key[0] = words[sender]!;
  if (isInet(words[sender]!)) {
    key[1] = words[sender + 1]!;
    key[2] = local < 0 ? 0 : words[local]!;
    return WORDS_4;
  }
  // Behind the port come the flow label, the address and the scope.
  for (let word = 1; word <= 5; word++) key[word] = words[sender + 1 + word]!;
  for (let word = 0; word < 4; word++) key[6 + word] = local < 0 ? 0 : words[local + word]!;
  // fe80::/10: other addresses may be reached through any interface.
  const linkLocal = local >= 0 && (words[local]! & 0xc0ff) === 0x80fe;
  key[10] = linkLocal ? words[local + INTERFACE_BEHIND_ADDRESS]! : 0;
  return WORDS_6;
}

/** The key of FlowTable for those words. @param bound the local address when the words do not have it */
export function textKey(words: Uint32Array, bound: string): string {
  const { client, local } = addressesOf(words, bound);
  return flowKey(textOf(local), textOf(client), client.port);
}

/** @param bound the one local address of the socket; empty where the words have it */
export function makeClient(flow: number, words: Uint32Array, bound: string, now: number): Client {
  const addresses = addressesOf(words, bound);
  const source = sourceOf(words);
  return {
    flow,
    name: sockaddrOf(words),
    control: source === undefined ? NOTHING : encodePktinfo(source, words[10]),
    segments: true,
    header: encodeFlowFrame({ flow, ended: false, addresses, payload: NOTHING })![0]!,
    words,
    touched: now,
    next: undefined,
  };
}

/** The address to answer from; undefined where the kernel knows it, or nobody can answer from it (multicast). */
function sourceOf(words: Uint32Array): Buffer | undefined {
  const v4 = words.length === WORDS_4;
  const ip = bytesOf(words).subarray(v4 ? 8 : 24, v4 ? 12 : 40);
  const none = ip.every((byte) => byte === 0) || (!v4 && ip[0] === 0xff);
  return none ? undefined : Buffer.from(ip);
}

function addressesOf(words: Uint32Array, bound: string): { client: UdpAddress; local: UdpAddress } {
  const bytes = bytesOf(words);
  const v4 = words.length === WORDS_4;
  const port = bytes.readUInt16BE(2);
  const ip = bytes.subarray(4, v4 ? 8 : 20);
  const client = { ip: Buffer.from(ip), port, zone: v4 ? '' : zoneOf(words[5]!) };
  if (bound !== '') {
    const [address = '', zone = ''] = bound.split('%');
    return { client, local: { ip: ipToBytes(address), port: 0, zone } };
  }
  const local = Buffer.from(bytes.subarray(v4 ? 8 : 24, v4 ? 12 : 40));
  if (isUnspecified(ipFromBytes(local))) return { client, local: UNKNOWN_ADDRESS };
  return { client, local: { ip: local, port: 0, zone: v4 ? '' : zoneOf(words[10]!) } };
}

function sockaddrOf(words: Uint32Array): Buffer {
  const v4 = words.length === WORDS_4;
  const out = Buffer.alloc(v4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
  const bytes = bytesOf(words);
  bytes.copy(out, 0, 0, 4);
  bytes.copy(out, v4 ? 4 : 8, 4, v4 ? 8 : 24);
  return out;
}

function bytesOf(words: Uint32Array): Buffer {
  return Buffer.from(words.buffer, words.byteOffset, words.byteLength);
}

function textOf({ ip, zone }: UdpAddress): string {
  return ip.length === 0 ? '' : ipFromBytes(ip, zone);
}

/** The name of an interface by its number, as node:dgram has it in addresses. */
function zoneOf(scope: number): string {
  if (scope === 0) return '';
  for (const [name, addresses] of Object.entries(networkInterfaces()))
    if (addresses?.some((each) => each.family === 'IPv6' && each.scopeid === scope)) return name;
  return `${scope}`;
}

const NOTHING = Buffer.alloc(0);
