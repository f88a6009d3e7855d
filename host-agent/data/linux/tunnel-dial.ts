/**
 * Opens a dedicated stream in a worker: connect, preface, answer. What is true of a failed dial is in data/tunnel.ts,
 * whose counterpart this is.
 */
import { ERRNO, type ErrorCode, errnoName } from '../../../shared/errors.ts';
import { ANSWER_MS } from '../../../shared/link/open-channel.ts';
import { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { EPOLLIN } from '../../../shared/platform/linux/constants.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import { STREAM_MASK } from '../../../shared/platform/linux/side.ts';
import { StreamDial } from '../../../shared/platform/linux/stream-dial.ts';
import type { Abortable, WorkerStreams } from '../../../shared/platform/linux/worker-streams.ts';
import { decodeResult, RESULT_BYTES } from '../../../shared/preface.ts';
import type { HostPath } from './host-path.ts';
import type { HostShared } from './orders.ts';
import type { SpareClient } from './path-spares.ts';

/** The forward that a stream is opened for. */
export interface TunnelSource {
  readonly reactor: Reactor;
  readonly streams: WorkerStreams;
  readonly shared: HostShared;
  /** Index of the VM's flag. */
  readonly vm: number;
  readonly destination: Uint8Array;
  /** As encodeFields has them. */
  readonly fields: Uint8Array;
}

export abstract class TunnelDial<Source extends TunnelSource>
  extends StreamDial
  implements Abortable, SpareClient
{
  readonly path: HostPath;
  protected readonly source: Source;
  /** 0 before a preface was sent. */
  private streamId = 0;
  private phase: 'connecting' | 'waiting' | 'answering' | 'over' = 'connecting';
  private answer: Buffer | undefined;

  constructor(path: HostPath, source: Source) {
    super(source.reactor, path);
    this.path = path;
    this.source = source;
  }

  /** Where the stream comes from, as the kernel wrote it. */
  protected abstract get peer(): Buffer;

  /** Most that is read with the answer. */
  protected abstract get answerRoom(): number;

  /**
   * The shim has said yes.
   * @param fd watched, and the callee's
   * @param flags what epoll has said of it and nobody has acted on
   * @param early what was read behind the answer; valid for this call
   */
  protected abstract opened(fd: number, flags: number, early: Buffer): void;

  /** There will be no stream, and nothing is left of it. @param code where it is not what dialCode makes of the errno */
  protected abstract unreachable(errno: number, why: string, code?: ErrorCode): void;

  /** The shim aborts the stream that was opened. */
  protected abstract aborted(errno: number): void;

  /**
   * What is to be sent along with the preface, written so far into the reactor's buffer.
   * @returns how many bytes; -1 when nobody wants the stream any more
   */
  protected readEarly(_at: number): number {
    return 0;
  }

  /** Where the shim opens the streams: takes one of them. */
  protected override begin(): void {
    const { spares } = this.path;
    if (spares === undefined) return super.begin();
    const taken = spares.take(this.reactor, this);
    if (typeof taken === 'number') return this.served(taken);
    this.phase = 'waiting';
    if (taken === 'over') return this.denied(ERRNO.ECONNABORTED);
    this.setDeadline(this.path.withinMs);
  }

  served(fd: number): void {
    this.clearDeadline();
    this.phase = 'connecting';
    this.fd = fd;
    const errno = this.reactor.watch(fd, STREAM_MASK, this);
    if (errno === 0) this.connected();
    else this.failed(errno, 'epoll_ctl');
  }

  denied(errno: number): void {
    this.failed(errno, 'waiting for a stream of the shim');
  }

  override ready(flags: number): void {
    if (this.phase === 'answering') this.readAnswer(flags);
    else super.ready(flags);
  }

  override expired(): void {
    if (this.phase === 'answering') this.failed(ERRNO.ETIMEDOUT, 'the shim did not answer');
    else if (this.phase === 'waiting') {
      this.path.spares?.leave(this);
      this.failed(ERRNO.ETIMEDOUT, 'the shim opened no stream');
    } else super.expired();
  }

  resetByPeer(errno: number): void {
    if (this.phase === 'over') return this.aborted(errno);
    this.phase = 'over';
    this.closeFd();
    this.unreachable(errno, `reset by the shim: ${errnoName(errno)}`);
  }

  /** Nobody wants the stream any more. */
  protected cancel(): void {
    // The shim may be about to say yes: it must not take our close for an end.
    if (this.phase === 'answering') this.announce(this.giveUp(), ERRNO.ECANCELED);
    else this.closeFd();
    if (this.phase === 'waiting') this.path.spares?.leave(this);
    this.phase = 'over';
  }

  /** Says that the stream is aborted, and lets it go behind that. */
  protected announce(stream: AbortedStream, errno: number): void {
    this.forget();
    this.source.streams.announce(this.path.owner, this.streamId, errno, stream);
  }

  /** The opened stream is closed. */
  protected forget(): void {
    if (this.streamId !== 0) this.source.streams.remove(this.path.owner, this.streamId);
  }

  protected override connected(): void {
    const { reactor, path, source } = this;
    const { streams, shared, vm } = source;
    const { address, bytes } = reactor.buffer;
    const streamId = (Atomics.add(shared.streamIds, vm, 1) + 1) >>> 0;
    const length = path.templateOf(source).write(bytes, streamId, this.peer);
    const early = this.readEarly(length);
    if (early < 0) return;
    // A fresh stream takes a preface whole: it is smaller than any socket buffer.
    if (reactor.libc.write(this.fd, address, length + early) !== length + early)
      return this.refuse(ERRNO.ECONNABORTED, 'write');
    this.streamId = streamId;
    this.phase = 'answering';
    this.setDeadline(ANSWER_MS);
    const errno = streams.add(path.owner, streamId, this);
    if (errno !== undefined) this.resetByPeer(errno);
  }

  protected override failed(errno: number, what: string): void {
    if (this.phase === 'connecting')
      return this.refuse(errno, `no stream to the VM shim: ${what}`, 'NO_LINK');
    if (this.phase === 'answering') this.announce(this.giveUp(), errno);
    this.refuse(errno, what);
  }

  private readAnswer(flags: number): void {
    const { libc, buffer } = this.reactor;
    const room = this.answerRoom - (this.answer?.length ?? 0);
    const count = libc.read(this.fd, buffer.address, room);
    if (count < 0 && libc.errno() === ERRNO.EAGAIN) return;
    if (count <= 0) return this.refuse(ERRNO.ECONNABORTED, 'the shim closed the stream before it answered');
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
      return this.failed(ERRNO.EPROTO, 'the shim answered something else');
    }
    if (errno !== 0) return this.refuse(errno, 'the shim could not reach it');
    this.phase = 'over';
    // An edge is told once: what there may be behind a full read has to be kept.
    const left = count === room ? flags : flags & ~EPOLLIN;
    this.opened(this.takeFd(), left, bytes.subarray(RESULT_BYTES));
  }

  private refuse(errno: number, what: string, code?: ErrorCode): void {
    if (this.phase === 'answering') this.forget();
    this.phase = 'over';
    this.closeFd();
    this.unreachable(errno, `${what}: ${errnoName(errno)}`, code);
  }

  private giveUp(): AbortedStream {
    return new AbortedStream(this.reactor, this.takeFd());
  }
}
