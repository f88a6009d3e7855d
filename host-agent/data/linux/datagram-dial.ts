/**
 * Opens a dedicated stream for the datagrams of a forward: connect, preface, answer. What is true of a failed dial is
 * in data/tunnel.ts, whose counterpart this is.
 */
import { ERRNO, errnoName } from '../../../shared/errors.ts';
import { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { MAX_RETRIES, mayBeFull, RETRY_MS } from '../../../shared/platform/linux/connect-retry.ts';
import { EPOLLOUT } from '../../../shared/platform/linux/constants.ts';
import { type Deadline, removeDeadline, type Timed } from '../../../shared/platform/linux/deadlines.ts';
import { EINPROGRESS } from '../../../shared/platform/linux/errno.ts';
import { isHangUp, type Reactor, type Watcher } from '../../../shared/platform/linux/reactor.ts';
import { maskOf } from '../../../shared/platform/linux/side.ts';
import type { Abortable, WorkerStreams } from '../../../shared/platform/linux/worker-streams.ts';
import { decodeResult, RESULT_BYTES } from '../../../shared/preface.ts';
import type { HostPath } from './host-path.ts';

/** How long the shim may take to be reached, and to answer, milliseconds. */
const ANSWER_MS = 20_000;

export interface DatagramDialOwner {
  readonly reactor: Reactor;
  readonly streams: WorkerStreams;
  readonly destination: Uint8Array;
  drawStreamId(): number;
  /** The shim has said yes: the watched descriptor is the owner's. */
  opened(fd: number): void;
  dialFailed(why: string): void;
  /** The shim aborts the stream that was opened. */
  aborted(): void;
}

export class DatagramDial implements Watcher, Timed, Abortable {
  readonly path: HostPath;
  streamId = 0;
  private readonly owner: DatagramDialOwner;
  private fd = -1;
  private phase: 'connecting' | 'answering' | 'over' = 'connecting';
  private retries = 0;
  private retrying = false;
  private deadline: Deadline | undefined;
  private answer: Buffer = Buffer.alloc(0);

  constructor(path: HostPath, owner: DatagramDialOwner) {
    this.path = path;
    this.owner = owner;
  }

  start(): void {
    const { reactor } = this.owner;
    this.fd = reactor.sockets.open(this.path.sockaddr);
    if (this.fd < 0) return this.fail(reactor.libc.errno(), 'socket');
    reactor.own(this.fd);
    this.connect();
  }

  /** Nobody wants the stream any more. */
  cancel(): void {
    if (this.phase === 'answering') this.announce(this.giveUp(), ERRNO.ECANCELED);
    this.close();
  }

  /** Says that the opened stream is aborted, and lets it go behind that. */
  announce(stream: AbortedStream, errno: number): void {
    const { streams } = this.owner;
    streams.remove(this.path.owner, this.streamId);
    streams.announce(this.path.owner, this.streamId, errno, stream);
  }

  /** The opened stream is closed. */
  forget(): void {
    this.owner.streams.remove(this.path.owner, this.streamId);
  }

  expired(): void {
    this.deadline = undefined;
    if (this.fd < 0) this.start();
    else if (this.retrying) this.connect();
    else this.fail(ERRNO.ETIMEDOUT, 'the shim did not answer');
  }

  ready(flags: number): void {
    if (this.phase === 'answering') return this.readAnswer();
    if (this.phase !== 'connecting' || ((flags & EPOLLOUT) === 0 && !isHangUp(flags))) return;
    const errno = this.owner.reactor.sockets.pendingError(this.fd);
    if (errno !== 0) this.retry(errno);
    else this.connected();
  }

  resetByPeer(errno: number): void {
    if (this.phase === 'over') return this.owner.aborted();
    this.close();
    this.owner.dialFailed(`reset by the shim: ${errnoName(errno)}`);
  }

  private connect(): void {
    const { reactor } = this.owner;
    this.retrying = false;
    if (reactor.sockets.connect(this.fd, this.path.sockaddr) === 0) {
      if (this.watch(maskOf(this.path.kind))) this.connected();
      return;
    }
    const errno = reactor.libc.errno();
    if (errno === EINPROGRESS) {
      this.deadline = reactor.deadlinesOf(ANSWER_MS).add(this, reactor.now);
      this.watch(maskOf(this.path.kind) | EPOLLOUT);
      return;
    }
    this.retry(errno);
  }

  private retry(errno: number): void {
    const { reactor } = this.owner;
    if (!mayBeFull(this.path.sockaddr, errno) || ++this.retries > MAX_RETRIES)
      return this.fail(errno, 'connect');
    // A vsock socket that has failed to connect cannot try again (EALREADY): the next try has another one.
    if (this.path.kind.vsock) {
      this.clearDeadline();
      reactor.close(this.fd);
      this.fd = -1;
    }
    this.retrying = true;
    this.deadline = reactor.deadlinesOf(RETRY_MS).add(this, reactor.now);
  }

  private watch(mask: number): boolean {
    const errno = this.owner.reactor.watch(this.fd, mask, this);
    if (errno !== 0) this.fail(errno, 'epoll_ctl');
    return errno === 0;
  }

  private connected(): void {
    const { reactor, streams } = this.owner;
    this.clearDeadline();
    this.phase = 'answering';
    this.streamId = this.owner.drawStreamId();
    const { address, bytes } = reactor.buffer;
    const length = this.path.templateOf(this.owner).write(bytes, this.streamId, NOBODY);
    // A fresh stream takes a preface whole: it is smaller than any socket buffer.
    if (reactor.libc.write(this.fd, address, length) !== length)
      return this.fail(ERRNO.ECONNABORTED, 'write');
    this.deadline = reactor.deadlinesOf(ANSWER_MS).add(this, reactor.now);
    const early = streams.add(this.path.owner, this.streamId, this);
    if (early !== undefined) this.resetByPeer(early);
  }

  private readAnswer(): void {
    const { libc, buffer } = this.owner.reactor;
    const count = libc.read(this.fd, buffer.address, RESULT_BYTES - this.answer.length);
    if (count < 0 && libc.errno() === ERRNO.EAGAIN) return;
    if (count <= 0) {
      this.close();
      return this.owner.dialFailed('the shim closed the stream before it answered');
    }
    this.answer = Buffer.concat([this.answer, buffer.bytes.subarray(0, count)]);
    if (this.answer.length < RESULT_BYTES) return this.readAnswer();
    let errno: number;
    try {
      errno = decodeResult(this.answer)!.value;
    } catch {
      return this.fail(ERRNO.EPROTO, 'the shim answered something else');
    }
    if (errno !== 0) {
      this.close();
      return this.owner.dialFailed(`the shim could not reach it: ${errnoName(errno)}`);
    }
    const { fd } = this;
    this.setOver();
    this.owner.opened(fd);
  }

  private fail(errno: number, what: string): void {
    if (this.phase === 'answering') this.announce(this.giveUp(), errno);
    this.close();
    this.owner.dialFailed(`${what}: ${errnoName(errno)}`);
  }

  private giveUp(): AbortedStream {
    const { fd } = this;
    this.setOver();
    return new AbortedStream(this.owner.reactor, fd);
  }

  private close(): void {
    const { fd } = this;
    if (this.phase === 'answering') this.forget();
    this.setOver();
    if (fd >= 0) this.owner.reactor.close(fd);
  }

  private setOver(): void {
    this.clearDeadline();
    this.phase = 'over';
    this.fd = -1;
  }

  private clearDeadline(): void {
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
  }
}

const NOBODY = Buffer.alloc(2);
