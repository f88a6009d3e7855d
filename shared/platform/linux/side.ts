import { AbortedStream } from './aborted-stream.ts';
import { AF_VSOCK, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from './constants.ts';
import { isHangUp, type Reactor, type Watcher } from './reactor.ts';
import { isIp } from './sockaddr.ts';

/** What a stream is to its connection. */
export interface SideKind {
  readonly tcp: boolean;
  /** A dedicated stream to the other program: an abort is said over the link, an end may have to be confirmed. */
  readonly tunnel: boolean;
  /** AF_VSOCK: epoll does not tell when a peer that has ended closes as well (vsock_poll), so it is looked for. */
  readonly vsock?: boolean;
  /** Half of a stream that a bridge passes on: who closes it before its other end has ended aborts it. */
  readonly bridged?: boolean;
}

export const PLAIN_TCP: SideKind = { tcp: true, tunnel: false };
export const PLAIN_UNIX: SideKind = { tcp: false, tunnel: false };
export const TUNNEL_TCP: SideKind = { tcp: true, tunnel: true };
export const TUNNEL_UNIX: SideKind = { tcp: false, tunnel: true };
const TUNNEL_VSOCK: SideKind = { tcp: false, tunnel: true, vsock: true };
export const BRIDGED_UNIX: SideKind = { tcp: false, tunnel: false, bridged: true };
export const BRIDGED_VSOCK: SideKind = { tcp: false, tunnel: false, bridged: true, vsock: true };

/** What a dedicated stream is, by the family of the transport's socket addresses. */
export function tunnelKind(family: number): SideKind {
  if (family === AF_VSOCK) return TUNNEL_VSOCK;
  return isIp(family) ? TUNNEL_TCP : TUNNEL_UNIX;
}

const HANG_UP = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

/**
 * What to ask of epoll for a stream. It is not asked for room before room has been missed: that is an event more for
 * each stream, and a unix socket tells its writer of every buffer that its reader takes (unix_write_space).
 */
export const STREAM_MASK = EPOLLIN | EPOLLRDHUP | EPOLLET;

/** The connection that a side belongs to. */
export interface SideOwner {
  ready(side: Side, flags: number): void;
}

/** One end of a connection. It owns its descriptor, which is watched already, and closes it once. */
export class Side implements Watcher {
  readonly fd: number;
  readonly kind: SideKind;
  readonly role: 'initiating' | 'target';
  /** Reading may give something: set by epoll, cleared by what reading gave. */
  readable = false;
  /** The peer has said that there is an end behind what can be read, so a short read is not the last word. */
  hangUp = false;
  /** EPOLLHUP or EPOLLERR was seen: a reset may hide behind an end that was read. */
  hungUp = false;
  /** EPOLLRDHUP was seen alone, where that says something: the peer has said that it ends, which nobody's death says. */
  saidEnd = false;
  /** An end of stream was read. */
  eof = false;
  /** That end is being looked into. */
  confirming = false;
  /** The descriptor is ours no longer. */
  closed = false;
  private readonly owner: SideOwner;
  private readonly reactor: Reactor;
  private asksForRoom = false;

  constructor(reactor: Reactor, fd: number, kind: SideKind, role: Side['role'], owner: SideOwner) {
    this.reactor = reactor;
    this.fd = fd;
    this.kind = kind;
    this.role = role;
    this.owner = owner;
  }

  ready(flags: number): void {
    this.note(flags);
    this.owner.ready(this, flags);
  }

  /** Keeps what epoll has said: an edge is told once, so that whoever was told before has to pass it on. */
  note(flags: number): void {
    if ((flags & (EPOLLIN | HANG_UP)) !== 0) this.readable = true;
    if ((flags & HANG_UP) !== 0) {
      this.hangUp = true;
      if ((flags & (EPOLLHUP | EPOLLERR)) !== 0) this.hungUp = true;
      else if (this.kind.vsock !== true) this.saidEnd = true;
    }
  }

  /** A write found no room: the next room is to be reported. */
  wantRoom(): void {
    if (this.asksForRoom) return;
    this.asksForRoom = true;
    this.reactor.rewatch(this.fd, STREAM_MASK | EPOLLOUT);
  }

  /** Whether an end of stream here can be told from an abort by probing (see Relay). */
  get probes(): boolean {
    return this.kind.tcp || this.closingAborts;
  }

  /** Whether a peer that closes both directions at once has aborted: those who are finished end one at a time. */
  get closingAborts(): boolean {
    return this.kind.tunnel || this.kind.bridged === true;
  }

  /** Whether flags that epoll gave may mean that the peer is gone in both directions. */
  maybeGone(flags: number): boolean {
    return isHangUp(flags) || (this.kind.vsock === true && (flags & EPOLLRDHUP) !== 0);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.reactor.close(this.fd);
  }

  /** Leaves the descriptor to somebody who keeps it open and silent. */
  giveUp(): AbortedStream {
    this.closed = true;
    return new AbortedStream(this.reactor, this.fd);
  }

  /** Closes so that the peer sees a reset, where there is such a thing. */
  abort(): void {
    if (this.closed) return;
    if (this.kind.tcp) this.reactor.sockets.resetOnClose(this.fd);
    this.close();
  }
}
