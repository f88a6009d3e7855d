/**
 * One client of a forward in a worker: connects to the transport, sends the preface, reads the answer, and hands
 * both streams to a Relay. What is true of a failed dial is in data/tunnel.ts, whose counterpart this is.
 */
import { ERRNO, errnoName } from '../../../shared/errors.ts';
import { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { EPOLLIN, EPOLLOUT } from '../../../shared/platform/linux/constants.ts';
import { type Deadline, removeDeadline, type Timed } from '../../../shared/platform/linux/deadlines.ts';
import { EINPROGRESS } from '../../../shared/platform/linux/errno.ts';
import { COPY_BYTES, isHangUp, type Watcher } from '../../../shared/platform/linux/reactor.ts';
import { BYTES_UP, Relay, type RelayOwner } from '../../../shared/platform/linux/relay.ts';
import {
  maskOf,
  PLAIN_TCP,
  PLAIN_UNIX,
  TUNNEL_TCP,
  TUNNEL_UNIX,
} from '../../../shared/platform/linux/side.ts';
import type { Abortable } from '../../../shared/platform/linux/worker-streams.ts';
import { decodeResult, RESULT_BYTES } from '../../../shared/preface.ts';
import type { ForwardListener } from './forward-listener.ts';
import type { HostPath } from './host-path.ts';

/** How long the shim may take to answer, milliseconds: more than the time that it gives a container. */
const ANSWER_MS = 20_000;
/** A full backlog is tried again this often, and for so long, milliseconds. */
const RETRY_MS = 5;
const MAX_RETRIES = 400;
/** Most that is sent with a preface; every stream has room for it. */
const EARLY_BYTES = 8 * 1024;

export class HostConnection implements Watcher, Timed, RelayOwner, Abortable {
  readonly relay: Relay;
  readonly counters: Float64Array;
  private readonly forward: ForwardListener;
  private readonly path: HostPath;
  private readonly peer: Buffer;
  private fd = -1;
  private streamId = 0;
  private phase: 'idle' | 'connecting' | 'answering' | 'relaying' = 'idle';
  private retries = 0;
  private retrying = false;
  private deadline: Deadline | undefined;
  private answer: Buffer | undefined;

  /** Takes over a client that was just accepted. @param peer the address it came from */
  constructor(forward: ForwardListener, path: HostPath, client: number, peer: Buffer) {
    this.forward = forward;
    this.path = path;
    this.peer = peer;
    this.counters = forward.counters;
    this.relay = new Relay(forward.reactor, client, forward.tcp ? PLAIN_TCP : PLAIN_UNIX, this);
  }

  /** Watches the client and dials. */
  begin(): void {
    const { reactor, tcp } = this.forward;
    const { initiating } = this.relay;
    const errno = reactor.watch(initiating.fd, maskOf(tcp ? PLAIN_TCP : PLAIN_UNIX), initiating);
    if (errno === 0) this.dial();
    else this.relay.dialFailed(errno);
  }

  stop(): void {
    this.relay.stop();
  }

  private dial(): void {
    const { reactor } = this.forward;
    this.fd = reactor.sockets.open(this.path.sockaddr);
    if (this.fd < 0) return this.fail(reactor.libc.errno(), 'socket');
    reactor.own(this.fd);
    this.connect();
  }

  expired(): void {
    this.deadline = undefined;
    if (this.retrying) this.connect();
    else this.fail(ERRNO.ETIMEDOUT, 'the shim did not answer');
  }

  ready(flags: number): void {
    if (this.phase === 'answering') return this.readAnswer(flags);
    if (this.phase !== 'connecting' || ((flags & EPOLLOUT) === 0 && !isHangUp(flags))) return;
    const errno = this.forward.reactor.sockets.pendingError(this.fd);
    if (errno !== 0) this.fail(errno, 'connect');
    else this.connected();
  }

  resetByPeer(errno: number): void {
    if (this.phase === 'relaying') this.relay.resetByPeer(errno);
    else if (this.phase === 'answering') {
      this.closeDial();
      this.fail(errno, 'reset by the shim');
    }
  }

  cancelDial(): void {
    if (this.phase !== 'answering') return this.closeDial();
    // The shim may be about to say yes: it must not take our close for an end.
    this.announceReset(this.relay, this.giveUp(), ERRNO.ECANCELED);
  }

  confirmEnd(relay: Relay): void {
    this.forward.streams.confirm(this.path.owner, relay);
  }

  announceReset(_relay: Relay, stream: AbortedStream, errno: number): void {
    this.forward.streams.announce(this.path.owner, this.streamId, errno, stream);
  }

  released(_relay: Relay, errno: number): void {
    if (this.streamId !== 0) this.forward.streams.remove(this.path.owner, this.streamId);
    this.forward.released(this, errno);
  }

  private connect(): void {
    const { reactor } = this.forward;
    this.phase = 'connecting';
    this.retrying = false;
    if (reactor.sockets.connect(this.fd, this.path.sockaddr) === 0) {
      if (this.watch()) this.connected();
      return;
    }
    const errno = reactor.libc.errno();
    if (errno === EINPROGRESS) {
      this.deadline = reactor.deadlinesOf(ANSWER_MS).add(this, reactor.now);
      this.watch();
      return;
    }
    // unix(7) has no queue for those who connect: a full backlog is EAGAIN, at once.
    if (errno !== ERRNO.EAGAIN || ++this.retries > MAX_RETRIES) return this.fail(errno, 'connect');
    this.retrying = true;
    this.deadline = reactor.deadlinesOf(RETRY_MS).add(this, reactor.now);
  }

  private watch(): boolean {
    const errno = this.forward.reactor.watch(this.fd, maskOf(this.kind), this);
    if (errno !== 0) this.fail(errno, 'epoll_ctl');
    return errno === 0;
  }

  private connected(): void {
    const { reactor, streams, shared, vm } = this.forward;
    this.clearDeadline();
    this.phase = 'answering';
    this.streamId = (Atomics.add(shared.streamIds, vm, 1) + 1) >>> 0;
    const { address, bytes } = reactor.buffer;
    let length = this.path.templateOf(this.forward).write(bytes, this.streamId, this.peer);
    length += this.readEarly(address + length);
    if (this.relay.over) return;
    // A fresh stream takes a preface whole: it is smaller than any socket buffer.
    if (reactor.libc.write(this.fd, address, length) !== length)
      return this.fail(ERRNO.ECONNABORTED, 'write');
    this.deadline = reactor.deadlinesOf(ANSWER_MS).add(this, reactor.now);
    const early = streams.add(this.path.owner, this.streamId, this);
    if (early !== undefined) this.resetByPeer(early);
  }

  /**
   * What the client has sent already goes with the preface, which spares the shim a wake-up. It tells the client
   * nothing: a dial that fails resets it all the same.
   */
  private readEarly(address: number): number {
    const { reactor, early } = this.forward;
    if (!early.worthTrying()) return 0;
    const { initiating } = this.relay;
    const count = reactor.libc.read(initiating.fd, address, EARLY_BYTES);
    early.learn(count > 0);
    if (count > 0) this.counters[BYTES_UP]! += count;
    // Edges are told once: what a full read left, or the end, has to be looked for again.
    if (count === EARLY_BYTES || count === 0) initiating.readable = true;
    if (count < 0 && reactor.libc.errno() !== ERRNO.EAGAIN)
      this.relay.failed(initiating, reactor.libc.errno());
    return Math.max(0, count);
  }

  private readAnswer(flags: number): void {
    const { libc, buffer } = this.forward.reactor;
    const count = libc.read(this.fd, buffer.address, COPY_BYTES);
    if (count < 0 && libc.errno() === ERRNO.EAGAIN) return;
    if (count <= 0) {
      this.closeDial();
      return this.fail(ERRNO.ECONNABORTED, 'the shim closed the stream before it answered');
    }
    const fresh = buffer.bytes.subarray(0, count);
    const bytes = this.answer === undefined ? fresh : Buffer.concat([this.answer, fresh]);
    if (bytes.length < RESULT_BYTES) {
      this.answer = Buffer.from(bytes);
      return this.readAnswer(flags);
    }
    let errno: number;
    try {
      errno = decodeResult(bytes)!.value;
    } catch {
      return this.fail(ERRNO.EPROTO, 'the shim answered something else');
    }
    if (errno !== 0) {
      this.closeDial();
      return this.fail(errno, 'the shim could not reach it');
    }
    this.clearDeadline();
    this.phase = 'relaying';
    const fd = this.fd;
    this.fd = -1;
    const left = count === COPY_BYTES ? flags : flags & ~EPOLLIN;
    this.relay.dialled(fd, this.kind, left, { down: bytes.subarray(RESULT_BYTES) });
  }

  private get kind() {
    return this.path.tcp ? TUNNEL_TCP : TUNNEL_UNIX;
  }

  private fail(errno: number, what: string): void {
    if (this.phase === 'answering' && this.fd >= 0) this.announceReset(this.relay, this.giveUp(), errno);
    this.closeDial();
    this.forward.dialFailed(`${what}: ${errnoName(errno)}`);
    this.relay.dialFailed(errno);
  }

  private giveUp(): AbortedStream {
    this.clearDeadline();
    const stream = new AbortedStream(this.forward.reactor, this.fd);
    this.fd = -1;
    return stream;
  }

  private closeDial(): void {
    this.clearDeadline();
    if (this.fd >= 0) this.forward.reactor.close(this.fd);
    this.fd = -1;
  }

  private clearDeadline(): void {
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
  }
}
