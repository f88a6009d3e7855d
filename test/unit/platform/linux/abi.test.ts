/** What the engine takes for granted of x86-64 and arm64, glibc and musl, without compiling anything. */
import { constants as fsConstants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../../shared/errors.ts';
import * as constants from '../../../../shared/platform/linux/constants.ts';
import * as numbers from '../../../../shared/platform/linux/datagrams/numbers.ts';
import { eventLayout } from '../../../../shared/platform/linux/epoll.ts';
import { EINPROGRESS, ENOTCONN } from '../../../../shared/platform/linux/errno.ts';
import { loadLibc } from '../../../../shared/platform/linux/libc.ts';
import { PROGRAM } from '../../../../shared/platform/linux/reservation-filter.ts';
import { encodeSockaddr } from '../../../../shared/platform/linux/sockaddr.ts';
import { offsetsOf } from '../../../helpers/c-layout.ts';
import { engines } from '../../../helpers/engines.ts';

describe('layout', () => {
  it('of epoll_event: packed on x86-64 only (EPOLL_PACKED in linux/eventpoll.h)', () => {
    const fields = [
      ['events', 4],
      ['data', 8],
    ] as const;
    for (const arch of ['x64', 'arm64']) {
      const { size, data } = offsetsOf(fields, arch === 'x64');
      expect(eventLayout(arch)).toEqual({ size, data });
    }
    expect([eventLayout('x64').size, eventLayout('arm64').size]).toEqual([12, 16]);
  });

  it('of sock_fprog and sock_filter (linux/filter.h)', () => {
    const program = offsetsOf([
      ['len', 2],
      ['filter', 8],
    ]);
    expect(PROGRAM).toEqual({ bytes: program.size, length: program.len, instructions: program.filter });
    const instruction = offsetsOf([
      ['code', 2],
      ['jt', 1],
      ['jf', 1],
      ['k', 4],
    ]);
    expect(instruction).toEqual({ code: 0, jt: 2, jf: 3, k: 4, size: 8 });
  });

  it('of sockaddr_vm (linux/vm_sockets.h), which the kernel wants whole and with zeros at its end', () => {
    const fields = offsetsOf([
      ['svm_family', 2],
      ['svm_reserved1', 2],
      ['svm_port', 4],
      ['svm_cid', 4],
      ['svm_flags', 1],
    ]);
    const bytes = encodeSockaddr({ family: 'vsock', cid: 0x01020304, port: 0x05060708 });
    expect(bytes.length).toBe(16); // sizeof(struct sockaddr), to which it is filled up
    expect(bytes.readUInt16LE(fields.svm_family)).toBe(constants.AF_VSOCK);
    expect(bytes.readUInt16LE(fields.svm_reserved1)).toBe(0);
    expect(bytes.readUInt32LE(fields.svm_port)).toBe(0x05060708);
    expect(bytes.readUInt32LE(fields.svm_cid)).toBe(0x01020304);
    expect([...bytes.subarray(fields.svm_flags)]).toEqual([0, 0, 0, 0]);
  });

  it('of linger: two ints (socket(7)), as resetOnClose writes them', () => {
    expect(
      offsetsOf([
        ['l_onoff', 4],
        ['l_linger', 4],
      ]),
    ).toEqual({ l_onoff: 0, l_linger: 4, size: 8 });
  });
});

/**
 * include/uapi/asm-generic/{socket,fcntl}.h and linux/{eventpoll,in,in6,tcp,vm_sockets}.h. alpha, mips, parisc, sparc and
 * powerpc have others of their own; x86 and arm64 include the generic ones (arch/*\/include/uapi/asm/socket.h, fcntl.h).
 */
const GENERIC = {
  ...{ AF_UNIX: 1, AF_INET: 2, AF_INET6: 10, AF_VSOCK: 40 },
  ...{ SOCK_STREAM: 1, SOCK_DGRAM: 2, SOCK_NONBLOCK: 0x800, SOCK_CLOEXEC: 0x80000 },
  ...{
    SOL_SOCKET: 1,
    SO_REUSEADDR: 2,
    SO_ERROR: 4,
    SO_SNDBUF: 7,
    SO_RCVBUF: 8,
    SO_KEEPALIVE: 9,
    SO_LINGER: 13,
  },
  ...{ SO_ATTACH_FILTER: 26, SO_DETACH_FILTER: 27, SO_SNDBUFFORCE: 32, SO_RCVBUFFORCE: 33, SO_MEMINFO: 55 },
  ...{ IPPROTO_IP: 0, IPPROTO_TCP: 6, IPPROTO_UDP: 17, IPPROTO_IPV6: 41 },
  ...{ TCP_NODELAY: 1, TCP_KEEPIDLE: 4, TCP_KEEPINTVL: 5, TCP_KEEPCNT: 6, UDP_SEGMENT: 103, IP_PKTINFO: 8 },
  ...{ IPV6_V6ONLY: 26, IPV6_RECVPKTINFO: 49, IPV6_PKTINFO: 50 },
  ...{ SHUT_RD: 0, SHUT_WR: 1, MSG_TRUNC: 0x20, MSG_DONTWAIT: 0x40, MSG_NOSIGNAL: 0x4000 },
  ...{ EPOLL_CLOEXEC: 0x80000, EPOLL_CTL_ADD: 1, EPOLL_CTL_DEL: 2, EPOLL_CTL_MOD: 3 },
  ...{ EPOLLIN: 1, EPOLLOUT: 4, EPOLLERR: 8, EPOLLHUP: 0x10, EPOLLRDHUP: 0x2000 },
  ...{ EPOLLEXCLUSIVE: 0x1000_0000, EPOLLET: 0x8000_0000 | 0 },
  ...{ EFD_NONBLOCK: 0x800, EFD_CLOEXEC: 0x80000, O_NONBLOCK: 0x800, O_CLOEXEC: 0x80000 },
  ...{ F_DUPFD_CLOEXEC: 1030, F_SETPIPE_SZ: 1031, SPLICE_F_MOVE: 1, SPLICE_F_NONBLOCK: 2 },
  ...{ SK_MEMINFO_DROPS: 8, SK_MEMINFO_VARS: 9 },
};

describe('numbers', () => {
  it('are the generic ones, all of them', () => {
    expect({ ...numbers, ...constants }).toEqual(GENERIC);
  });

  it.skipIf(!engines.includes('linux'))(
    'are those of the system that this runs on, where Node knows them',
    () => {
      const known = { ...ERRNO, EINPROGRESS, ENOTCONN } as Record<string, number>;
      const here = osConstants.errno as Record<string, number>;
      const shared = Object.keys(known).filter((name) => name in here);
      expect(shared.length).toBeGreaterThan(20);
      for (const name of shared) expect([name, known[name]]).toEqual([name, here[name]]);
      expect(constants.O_NONBLOCK).toBe(fsConstants.O_NONBLOCK);
      // These two are O_NONBLOCK by definition (net/socket.h, linux/eventfd.h), and would differ with it.
      expect([constants.SOCK_NONBLOCK, constants.EFD_NONBLOCK]).toEqual([
        fsConstants.O_NONBLOCK,
        fsConstants.O_NONBLOCK,
      ]);
    },
  );

  it.each(['ppc64', 's390x', 'mips', 'riscv64', 'ia32'])('are not believed on %s', async (arch) => {
    const original = Object.getOwnPropertyDescriptor(process, 'arch')!;
    Object.defineProperty(process, 'arch', { ...original, value: arch });
    try {
      await expect(loadLibc()).rejects.toThrow(`it is for x64 and arm64, not ${arch}`);
    } finally {
      Object.defineProperty(process, 'arch', original);
    }
  });
});
