/** Stream sockets of one thread, all of them non-blocking and close-on-exec. A failure of `open…` leaves nothing open. */
import { ERRNO } from '../../errors.ts';
import type { Arena, Piece } from './arena.ts';
import {
  AF_INET6,
  AF_UNIX,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_V6ONLY,
  MSG_NOSIGNAL,
  SHUT_RD,
  SHUT_WR,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
} from './constants.ts';
import { SO_SNDBUF } from './datagrams/numbers.ts';
import { systemError } from './errno.ts';
import type { Libc } from './libc.ts';
import { ReservationFilter } from './reservation-filter.ts';
import {
  decodeIp,
  encodeSockaddr,
  familyOf,
  isIp,
  MAX_SOCKADDR_BYTES,
  type SocketAddress,
} from './sockaddr.ts';

const FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC;
/** The kernel caps it at net.core.somaxconn, 4096 since Linux 5.4. */
const BACKLOG = 4_096;
const KEEPALIVE_INTERVAL_SECONDS = 1;
const KEEPALIVE_TRIES = 10;

export class Sockets {
  private readonly libc: Libc;
  private readonly name: Piece;
  private readonly length: Piece;
  private readonly option: Piece;
  private readonly filter: ReservationFilter;

  constructor(libc: Libc, arena: Arena) {
    this.libc = libc;
    this.name = arena.carve(128);
    this.length = arena.carve(4);
    this.option = arena.carve(8);
    this.filter = new ReservationFilter(libc, arena);
  }

  /**
   * Binds and listens; an IP port answers nobody before `answer`, where the kernel lets us (reservation-filter.ts). IPv6
   * sockets take IPv6 only.
   * @throws BridgeError as systemError has it
   */
  openListener(address: SocketAddress, name: string): number {
    const sockaddr = encodeSockaddr(address);
    const family = familyOf(sockaddr);
    const fd = this.libc.socket(family, SOCK_STREAM | FLAGS, 0);
    if (fd < 0) throw systemError('socket', name, this.libc.errno());
    try {
      if (isIp(family)) {
        this.setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        this.setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1); // accepted sockets inherit it (tcp_create_openreq_child)
        if (family === AF_INET6) this.setInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        this.filter.attach(fd, name);
      }
      this.put(sockaddr);
      if (this.libc.bind(fd, this.name.address, sockaddr.length) < 0)
        throw systemError('bind', name, this.libc.errno());
      if (this.libc.listen(fd, BACKLOG) < 0) throw systemError('listen', name, this.libc.errno());
      return fd;
    } catch (error) {
      this.libc.close(fd);
      throw error;
    }
  }

  /**
   * Has a bound socket refuse connections from now on, and resets those that nobody has accepted; the port stays its
   * own if it was bound to by number (SOCK_BINDPORT_LOCK in inet_csk_listen_stop). SO_REUSEADDR lets others in unless
   * a socket that has it listens (inet_csk_bind_conflict), so it is off meanwhile.
   */
  stopListening(fd: number): void {
    this.setInt(fd, SOL_SOCKET, SO_REUSEADDR, 0);
    this.refuse(fd);
  }

  /** The same for a socket that is about to be closed: others that have SO_REUSEADDR can have its port already. */
  refuse(fd: number): void {
    this.libc.shutdown(fd, SHUT_RD); // ENOTCONN says that it does not listen already
  }

  /** Undoes it. Without SO_REUSEADDR its own connections, those in TIME_WAIT too, would be in its way. */
  listenAgain(fd: number, name: string): void {
    this.setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (this.libc.listen(fd, BACKLOG) === 0) return;
    const errno = this.libc.errno();
    this.setInt(fd, SOL_SOCKET, SO_REUSEADDR, 0);
    throw systemError('listen', name, errno);
  }

  /** A reserved port answers from now on. */
  answer(fd: number): void {
    this.filter.detach(fd);
  }

  /** The port that a bound IP socket has. */
  localPort(fd: number): number {
    const local = this.localAddress(fd);
    if (local === undefined) throw systemError('getsockname', `descriptor ${fd}`, this.libc.errno());
    return local.port;
  }

  /** The address that a TCP socket has; undefined when there is none. */
  localAddress(fd: number): { ip: string; port: number } | undefined {
    this.length.bytes.writeUInt32LE(MAX_SOCKADDR_BYTES, 0);
    if (this.libc.getsockname(fd, this.name.address, this.length.address) < 0) return undefined;
    return decodeIp(this.name.bytes);
  }

  /** The address of its peer; undefined when it has none, or none any more. */
  remoteAddress(fd: number): { ip: string; port: number } | undefined {
    const peer = this.askPeer(fd);
    return peer === undefined ? undefined : decodeIp(peer);
  }

  /** The same as the kernel wrote it; valid until the next call. */
  askPeer(fd: number): Buffer | undefined {
    this.length.bytes.writeUInt32LE(MAX_SOCKADDR_BYTES, 0);
    if (this.libc.getpeername(fd, this.name.address, this.length.address) < 0) return undefined;
    return this.name.bytes;
  }

  isUnix(fd: number): boolean {
    this.length.bytes.writeUInt32LE(MAX_SOCKADDR_BYTES, 0);
    if (this.libc.getsockname(fd, this.name.address, this.length.address) < 0) return false;
    return familyOf(this.name.bytes) === AF_UNIX;
  }

  /** @returns the new descriptor; -1 with errno when there is none. `peer` has its address then. */
  accept(listener: number): number {
    this.length.bytes.writeUInt32LE(MAX_SOCKADDR_BYTES, 0);
    return this.libc.accept4(listener, this.name.address, this.length.address, FLAGS);
  }

  /** Address of the socket accepted last, as the kernel wrote it; valid until the next call. */
  get peer(): Buffer {
    return this.name.bytes;
  }

  /** @returns a socket for an encoded address, or -1 with errno */
  open(sockaddr: Buffer): number {
    const family = familyOf(sockaddr);
    const fd = this.libc.socket(family, SOCK_STREAM | FLAGS, 0);
    if (fd >= 0 && isIp(family)) this.setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return fd;
  }

  /** Two unix sockets that are connected. @returns undefined with errno when there are none */
  pair(): readonly [number, number] | undefined {
    const { address, bytes } = this.option;
    if (this.libc.socketpair(AF_UNIX, SOCK_STREAM | FLAGS, 0, address) < 0) return undefined;
    return [bytes.readInt32LE(0), bytes.readInt32LE(4)];
  }

  /** @returns 0 or -1 with errno; EINPROGRESS is on its way */
  connect(fd: number, sockaddr: Buffer): number {
    this.put(sockaddr);
    return this.libc.connect(fd, this.name.address, sockaddr.length);
  }

  /** What became of a connect that was on its way: 0 or an errno. */
  pendingError(fd: number): number {
    this.length.bytes.writeUInt32LE(4, 0);
    const { address, bytes } = this.option;
    if (this.libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, address, this.length.address) < 0)
      return this.libc.errno();
    return bytes.readInt32LE(0);
  }

  /**
   * Asks whether a stream still takes bytes, by sending none: it fails where the peer has reset the stream, or
   * a unix or vsock peer has closed it (tcp_sendmsg_locked, unix_stream_sendmsg and vsock_connectible_sendmsg look
   * before they loop).
   * @returns 0 or the errno
   */
  probe(fd: number): number {
    return this.libc.send(fd, this.option.address, 0, MSG_NOSIGNAL) < 0 ? this.libc.errno() : 0;
  }

  /** Whether a stream lives on which the peer is to say nothing yet; a byte of what it says is lost. */
  isSilent(fd: number): boolean {
    return this.libc.read(fd, this.option.address, 1) < 0 && this.libc.errno() === ERRNO.EAGAIN;
  }

  shutdownWrite(fd: number): void {
    this.libc.shutdown(fd, SHUT_WR); // ENOTCONN says that it is gone; reading it will tell
  }

  /** From now on a close of this TCP socket sends RST and drops what is queued (socket(7), tcp(7)). */
  resetOnClose(fd: number): void {
    this.option.bytes.writeInt32LE(1, 0);
    this.option.bytes.writeInt32LE(0, 4);
    this.libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, this.option.address, 8);
  }

  /**
   * Asks whether the peer is still there when it was silent for so long, and then ten times, once a second, as Node does
   * (uv_tcp_keepalive). Sockets that are accepted on this one inherit it (tcp_create_openreq_child). A socket that cannot
   * have it, or not so many seconds, does without.
   */
  keepAlive(fd: number, seconds: number): void {
    this.tryInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    this.tryInt(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    this.tryInt(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS);
    this.tryInt(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TRIES);
  }

  /** Asks for room to write, bytes; the kernel gives what it allows (net.core.wmem_max). */
  wantRoomToWrite(fd: number, bytes: number): void {
    this.setInt(fd, SOL_SOCKET, SO_SNDBUF, bytes);
  }

  private setInt(fd: number, level: number, option: number, value: number): void {
    if (!this.tryInt(fd, level, option, value))
      throw systemError('setsockopt', `descriptor ${fd}`, this.libc.errno());
  }

  private tryInt(fd: number, level: number, option: number, value: number): boolean {
    this.option.bytes.writeInt32LE(value | 0, 0);
    return this.libc.setsockopt(fd, level, option, this.option.address, 4) >= 0;
  }

  private put(sockaddr: Buffer): void {
    sockaddr.copy(this.name.bytes);
  }
}
