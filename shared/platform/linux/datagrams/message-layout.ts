/**
 * Where the fields of recvmmsg(2), sendmmsg(2) and cmsg(3) are on 64-bit little-endian systems. The kernel has
 * `size_t` for msg_iovlen, msg_controllen and cmsg_len. musl declares an int and a padding that has to be 0, which
 * is the same bytes. Offsets are in u32 words unless they say bytes.
 */
import { AF_INET } from '../constants.ts';
import { IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_PKTINFO, UDP_SEGMENT } from './numbers.ts';

export const MMSGHDR_WORDS = 16;
export const MSG_NAME = 0;
export const MSG_NAMELEN = 2;
export const MSG_IOV = 4;
export const MSG_IOVLEN = 6;
export const MSG_CONTROL = 8;
export const MSG_CONTROLLEN = 10;
export const MSG_FLAGS = 12;
/** Behind the 56 bytes of the msghdr. */
export const MSG_LEN = 14;

export const IOVEC_WORDS = 4;
export const IOV_BASE = 0;
export const IOV_LEN = 2;

/** cmsg_len, cmsg_level, cmsg_type; data follows behind 16 bytes. */
export const CMSG_LEVEL = 2;
export const CMSG_TYPE = 3;
export const CMSG_DATA = 4;
const CMSG_HEADER_BYTES = 16;

/** struct in_pktinfo: index of the interface, the local address (ipi_spec_dst), the address in the header. */
const IN_PKTINFO_BYTES = 12;
const IPI_SPEC_DST = 1;
/** struct in6_pktinfo: the address, then the index of the interface. */
const IN6_PKTINFO_BYTES = 20;
const IPI6_IFINDEX = 4;

/** struct sockaddr_in and sockaddr_in6, bytes. */
export const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;

/** What CMSG_SPACE says for UDP_SEGMENT's u16. */
export const SEGMENT_SPACE = CMSG_HEADER_BYTES + 8;

/** An address as a number into the two words of a pointer. User space ends below 2^47. */
export function putPointer(words: Uint32Array, at: number, address: number): void {
  const low = address >>> 0;
  words[at] = low;
  words[at + 1] = (address - low) / 0x1_0000_0000;
}

/** The local address that a received control message names: the word it begins at; -1 when it names none. */
export function localAddressAt(words: Uint32Array, control: number, length: number): number {
  if (length < CMSG_HEADER_BYTES) return -1;
  const level = words[control + CMSG_LEVEL];
  const type = words[control + CMSG_TYPE];
  if (level === IPPROTO_IP && type === IP_PKTINFO) return control + CMSG_DATA + IPI_SPEC_DST;
  if (level === IPPROTO_IPV6 && type === IPV6_PKTINFO) return control + CMSG_DATA;
  return -1;
}

/** Where the index of the interface is, behind what localAddressAt answered for IPv6. */
export const INTERFACE_BEHIND_ADDRESS = IPI6_IFINDEX;

/**
 * The control message that makes a datagram leave from a local address. The interface is left to the routes, but for
 * link-local addresses, which mean nothing without.
 * @param ip 4 or 16 bytes
 */
export function encodePktinfo(ip: Buffer, interfaceIndex = 0): Buffer {
  const v4 = ip.length === 4;
  const data = v4 ? IN_PKTINFO_BYTES : IN6_PKTINFO_BYTES;
  const out = Buffer.alloc(CMSG_HEADER_BYTES + ((data + 7) & ~7));
  out.writeUInt32LE(CMSG_HEADER_BYTES + data, 0);
  out.writeInt32LE(v4 ? IPPROTO_IP : IPPROTO_IPV6, 8);
  out.writeInt32LE(v4 ? IP_PKTINFO : IPV6_PKTINFO, 12);
  ip.copy(out, CMSG_HEADER_BYTES + (v4 ? 4 * IPI_SPEC_DST : 0));
  out.writeUInt32LE(interfaceIndex, CMSG_HEADER_BYTES + (v4 ? 0 : 4 * IPI6_IFINDEX));
  return out;
}

/** Writes the control message that cuts a message into datagrams of `size` bytes; it takes SEGMENT_SPACE. */
export function putSegmentSize(words: Uint32Array, control: number, size: number): void {
  words[control] = CMSG_HEADER_BYTES + 2;
  words[control + 1] = 0;
  words[control + CMSG_LEVEL] = IPPROTO_UDP;
  words[control + CMSG_TYPE] = UDP_SEGMENT;
  words[control + CMSG_DATA] = size;
  words[control + CMSG_DATA + 1] = 0;
}

/** Whether the word that a socket address begins with, family and port, is IPv4's. */
export function isInet(firstWord: number): boolean {
  return (firstWord & 0xffff) === AF_INET;
}
