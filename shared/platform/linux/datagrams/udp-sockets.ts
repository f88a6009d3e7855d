import type { Arena, Piece } from '../arena.ts';
import { AF_INET6, IPV6_V6ONLY, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET } from '../constants.ts';
import { systemError } from '../errno.ts';
import type { Libc } from '../libc.ts';
import { ReservationFilter } from '../reservation-filter.ts';
import { encodeSockaddr, familyOf } from '../sockaddr.ts';
import {
  IP_PKTINFO,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_RECVPKTINFO,
  SK_MEMINFO_DROPS,
  SK_MEMINFO_VARS,
  SO_MEMINFO,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_DGRAM,
} from './numbers.ts';

const FLAGS = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

/** UDP sockets, non-blocking and close-on-exec. What fails leaves nothing open. */
export class UdpSockets {
  private readonly libc: Libc;
  private readonly memory: Piece;
  private readonly length: Piece;
  private readonly filter: ReservationFilter;

  constructor(libc: Libc, arena: Arena) {
    this.libc = libc;
    this.memory = arena.carve(64);
    this.length = arena.carve(4);
    this.filter = new ReservationFilter(libc, arena);
  }

  /**
   * Binds without SO_REUSEADDR, with which another process could take the same port, and for IPv6 only. Nothing is
   * received before `answer`.
   * @param options.tellsLocal whether each datagram says which local address it was sent to (IP_PKTINFO)
   * @throws BridgeError as systemError has it
   */
  bind(
    endpoint: { ip: string; port: number },
    name: string,
    options: { tellsLocal: boolean; bufferBytes: number },
  ): number {
    const sockaddr = encodeSockaddr({ family: 'ip', ...endpoint });
    const fd = this.open(sockaddr, options.bufferBytes);
    if (fd < 0) throw systemError('socket', name, -fd);
    try {
      const v6 = familyOf(sockaddr) === AF_INET6;
      if (v6) this.mustSet(fd, IPPROTO_IPV6, IPV6_V6ONLY, name);
      if (options.tellsLocal)
        this.mustSet(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, name);
      this.filter.attach(fd, name);
      this.put(sockaddr);
      if (this.libc.bind(fd, this.memory.address, sockaddr.length) < 0)
        throw systemError('bind', name, this.libc.errno());
      return fd;
    } catch (error) {
      this.libc.close(fd);
      throw error;
    }
  }

  /** A reserved port receives from now on. */
  answer(fd: number): void {
    this.filter.detach(fd);
  }

  /** A socket that hears and reaches one peer only. @returns less than 0, the errno negated, when there is none */
  connect(sockaddr: Buffer, bufferBytes: number): number {
    const fd = this.open(sockaddr, bufferBytes);
    if (fd < 0) return fd;
    this.put(sockaddr);
    if (this.libc.connect(fd, this.memory.address, sockaddr.length) === 0) return fd;
    const errno = this.libc.errno();
    this.libc.close(fd);
    return -errno;
  }

  /** How many datagrams the kernel has dropped because nobody read them in time. */
  drops(fd: number): number {
    const { libc, memory, length } = this;
    length.bytes.writeUInt32LE(4 * SK_MEMINFO_VARS, 0);
    if (libc.getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory.address, length.address) < 0) return 0;
    return memory.bytes.readUInt32LE(4 * SK_MEMINFO_DROPS);
  }

  private open(sockaddr: Buffer, bufferBytes: number): number {
    const fd = this.libc.socket(familyOf(sockaddr), FLAGS, 0);
    if (fd < 0) return -this.libc.errno();
    // Unprivileged processes get what net.core.rmem_max and wmem_max allow.
    if (!this.set(fd, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes))
      this.set(fd, SOL_SOCKET, SO_RCVBUF, bufferBytes);
    if (!this.set(fd, SOL_SOCKET, SO_SNDBUFFORCE, bufferBytes))
      this.set(fd, SOL_SOCKET, SO_SNDBUF, bufferBytes);
    return fd;
  }

  private mustSet(fd: number, level: number, option: number, name: string): void {
    if (!this.set(fd, level, option, 1)) throw systemError('setsockopt', name, this.libc.errno());
  }

  private set(fd: number, level: number, option: number, value: number): boolean {
    this.memory.bytes.writeInt32LE(value, 0);
    return this.libc.setsockopt(fd, level, option, this.memory.address, 4) === 0;
  }

  private put(sockaddr: Buffer): void {
    sockaddr.copy(this.memory.bytes);
  }
}
