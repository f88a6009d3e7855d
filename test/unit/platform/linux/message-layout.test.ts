import { describe, expect, it } from 'vitest';
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  encodePktinfo,
  IOV_BASE,
  IOV_LEN,
  IOVEC_WORDS,
  isInet,
  localAddressAt,
  MMSGHDR_WORDS,
  MSG_CONTROL,
  MSG_CONTROLLEN,
  MSG_FLAGS,
  MSG_IOV,
  MSG_IOVLEN,
  MSG_LEN,
  MSG_NAME,
  MSG_NAMELEN,
  putPointer,
  putSegmentSize,
  SEGMENT_SPACE,
} from '../../../../shared/platform/linux/datagrams/message-layout.ts';
import { type Field, offsetsOf } from '../../../helpers/c-layout.ts';

/** include/linux/socket.h: struct user_msghdr and the msg_len of struct mmsghdr behind it. */
const MMSGHDR: readonly Field[] = [
  ['msg_name', 8],
  ['msg_namelen', 4],
  ['msg_iov', 8],
  ['msg_iovlen', 8],
  ['msg_control', 8],
  ['msg_controllen', 8],
  ['msg_flags', 4],
];

/** musl's include/sys/socket.h and bits/socket.h for little-endian LP64: ints, with paddings that have to be 0. */
const MUSL_MSGHDR: readonly Field[] = [
  ['msg_name', 8],
  ['msg_namelen', 4],
  ['msg_iov', 8],
  ['msg_iovlen', 4],
  ['__pad1', 4],
  ['msg_control', 8],
  ['msg_controllen', 4],
  ['__pad2', 4],
  ['msg_flags', 4],
];

describe('layout', () => {
  it('of msghdr is the same in musl as in glibc, whose size_t has its high half where musl has a 0', () => {
    const { __pad1, __pad2, ...musl } = offsetsOf(MUSL_MSGHDR);
    expect(musl).toEqual(offsetsOf(MMSGHDR));
    expect([__pad1, __pad2]).toEqual([musl.msg_iovlen! + 4, musl.msg_controllen! + 4]);
    const cmsghdr = offsetsOf([
      ['len', 4],
      ['__pad1', 4],
      ['level', 4],
      ['type', 4],
    ]);
    expect(cmsghdr).toEqual({
      len: 0,
      __pad1: 4,
      level: 4 * CMSG_LEVEL,
      type: 4 * CMSG_TYPE,
      size: 4 * CMSG_DATA,
    });
    // What is written there, as a control message that we make shows, is 0.
    expect(encodePktinfo(Buffer.alloc(16, 1)).readUInt32LE(4)).toBe(0);
  });

  it('of mmsghdr', () => {
    const { size, ...fields } = offsetsOf(MMSGHDR);
    expect({
      msg_name: 4 * MSG_NAME,
      msg_namelen: 4 * MSG_NAMELEN,
      msg_iov: 4 * MSG_IOV,
      msg_iovlen: 4 * MSG_IOVLEN,
      msg_control: 4 * MSG_CONTROL,
      msg_controllen: 4 * MSG_CONTROLLEN,
      msg_flags: 4 * MSG_FLAGS,
    }).toEqual(fields);
    expect(size).toBe(56);
    expect(4 * MSG_LEN).toBe(size);
    expect(4 * MMSGHDR_WORDS).toBe(64);
  });

  it('of iovec and cmsghdr', () => {
    expect(
      offsetsOf([
        ['base', 8],
        ['len', 8],
      ]),
    ).toEqual({
      base: 4 * IOV_BASE,
      len: 4 * IOV_LEN,
      size: 4 * IOVEC_WORDS,
    });
    expect(
      offsetsOf([
        ['len', 8],
        ['level', 4],
        ['type', 4],
      ]),
    ).toEqual({
      len: 0,
      level: 4 * CMSG_LEVEL,
      type: 4 * CMSG_TYPE,
      size: 4 * CMSG_DATA,
    });
  });
});

const hex = (bytes: Buffer): string => bytes.toString('hex').replace(/(.{8})(?!$)/g, '$1 ');
const wordsOf = (bytes: Buffer): Uint32Array => new Uint32Array(Uint8Array.from(bytes).buffer);

describe('pktinfo', () => {
  it('of IPv4: cmsg_len 28, IPPROTO_IP, IP_PKTINFO, no interface, spec_dst', () => {
    expect(hex(encodePktinfo(Buffer.of(10, 77, 0, 2)))).toBe(
      '1c000000 00000000 00000000 08000000 00000000 0a4d0002 00000000 00000000',
    );
  });

  it('of IPv6: cmsg_len 36, IPPROTO_IPV6, IPV6_PKTINFO, address, interface', () => {
    const ip = Buffer.from('fe80000000000000000000000000abcd', 'hex');
    expect(hex(encodePktinfo(ip, 3))).toBe(
      '24000000 00000000 29000000 32000000 fe800000 00000000 00000000 0000abcd 03000000 00000000',
    );
  });

  it('is found in what was received, and nothing else is', () => {
    for (const ip of [Buffer.of(10, 77, 0, 2), Buffer.alloc(16, 0xfd)]) {
      const control = Buffer.concat([Buffer.alloc(64), encodePktinfo(ip)]);
      const words = wordsOf(control);
      const at = localAddressAt(words, 16, control.length - 64);
      expect(Buffer.from(words.buffer).subarray(4 * at, 4 * at + ip.length)).toEqual(ip);
      expect(localAddressAt(words, 16, 0)).toBe(-1);
      words[16 + CMSG_TYPE] = 2;
      expect(localAddressAt(words, 16, control.length - 64)).toBe(-1);
    }
  });
});

it('a segment size is a control message of 18 bytes in the room of 24', () => {
  const words = new Uint32Array(8).fill(0xffff_ffff);
  putSegmentSize(words, 1, 1_400);
  expect(SEGMENT_SPACE).toBe(24);
  expect([...words]).toEqual([0xffff_ffff, 18, 0, 17, 103, 1_400, 0, 0xffff_ffff]);
});

it('a pointer keeps all of its 47 bits', () => {
  for (const address of [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x7fff_ffff_f001]) {
    const words = new Uint32Array(2);
    putPointer(words, 0, address);
    expect(new BigUint64Array(words.buffer)[0]).toBe(BigInt(address));
  }
});

it('a family is told from the first word of an address', () => {
  expect(isInet(wordsOf(Buffer.of(2, 0, 0x1f, 0x90))[0]!)).toBe(true);
  expect(isInet(wordsOf(Buffer.of(10, 0, 0x1f, 0x90))[0]!)).toBe(false);
});
