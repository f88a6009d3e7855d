import type { Destination } from '../../../shared/destination.ts';
import { BridgeError, ERRNO, errnoNumber, messageOf } from '../../../shared/errors.ts';
import { HANDSHAKE_TEXT } from '../../../shared/link/handshake.ts';
import { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { EPOLLIN, EPOLLOUT } from '../../../shared/platform/linux/constants.ts';
import { type Deadline, removeDeadline, type Timed } from '../../../shared/platform/linux/deadlines.ts';
import { COPY_BYTES, type Watcher } from '../../../shared/platform/linux/reactor.ts';
import { STREAM_MASK } from '../../../shared/platform/linux/side.ts';
import { encodeResult, PREFACE_MAGIC } from '../../../shared/preface.ts';
import type { DatagramTunnel } from './datagram-exits.ts';
import { ShimConnection } from './shim-connection.ts';
import type { ShimWorker } from './shim-worker.ts';
import { type StreamTarget, type TargetCache, targetOf } from './target-cache.ts';

const HEAD_MS = 10_000;

/** Whoever opened a stream that is unused until its preface comes. */
export interface SpareOwner {
  /** The preface has come. */
  used(): void;
  /** It was closed before that. */
  lost(why: string): void;
}

/**
 * A stream that was just accepted, until it has said what it is; the counterpart of data/acceptor.ts. Links are the
 * main thread's, and so are datagrams in vpnkit's frames.
 */
export class IncomingStream implements Watcher, Timed {
  private readonly shim: ShimWorker;
  private readonly fd: number;
  private readonly spare: SpareOwner | undefined;
  private deadline: Deadline | undefined;
  private head: Buffer = Buffer.alloc(0);
  private done = false;
  private unused: boolean;

  /** Takes over the descriptor; that of a spare stream is watched already, and may be silent for as long as it likes. */
  constructor(shim: ShimWorker, fd: number, spare?: SpareOwner) {
    this.shim = shim;
    this.fd = fd;
    this.spare = spare;
    this.unused = spare !== undefined;
    const { reactor } = shim;
    if (spare !== undefined) {
      reactor.hand(fd, this);
      return;
    }
    this.awaitHead();
    const errno = reactor.watch(fd, STREAM_MASK, this);
    if (errno !== 0) this.refuse(`epoll_ctl failed (${errno})`);
    else this.read(0); // whoever connects writes at once, so that the bytes are mostly there
  }

  expired(): void {
    this.refuse(`no stream preface within ${HEAD_MS / 1000} s`);
  }

  ready(flags: number): void {
    this.read(flags);
  }

  /** A spare stream that nobody needs any more. */
  drop(): void {
    this.finish();
    this.shim.reactor.close(this.fd);
  }

  private read(flags: number): void {
    const { libc, buffer } = this.shim.reactor;
    const count = libc.read(this.fd, buffer.address, COPY_BYTES);
    if (count < 0 && libc.errno() === ERRNO.EAGAIN) return;
    if (count <= 0) return this.refuse('the other side closed before its first two bytes');
    if (this.unused) this.use();
    const fresh = buffer.bytes.subarray(0, count);
    const bytes = this.head.length === 0 ? fresh : Buffer.concat([this.head, fresh]);
    let decoded: ReturnType<TargetCache['decode']>;
    try {
      if (bytes.length >= 2 && bytes[0] === HANDSHAKE_TEXT[0] && bytes[1] === HANDSHAKE_TEXT[1])
        return this.handOver(bytes);
      if (bytes.length >= 2 && (bytes[0] !== PREFACE_MAGIC[0] || bytes[1] !== PREFACE_MAGIC[1]))
        throw new BridgeError('PROTOCOL', 'it is neither a link nor a dedicated stream');
      decoded = this.shim.targets.decode(bytes);
    } catch (error) {
      return this.refuse(messageOf(error));
    }
    // An edge is told once: what there is to read behind this has to be kept.
    const left = count === COPY_BYTES ? flags | EPOLLIN : flags & ~(EPOLLIN | EPOLLOUT);
    if (decoded !== undefined) this.serve(decoded.target, decoded.streamId, bytes, decoded.used, left);
    else {
      this.head = Buffer.from(bytes);
      if (left !== 0) this.read(left);
    }
  }

  private serve(target: StreamTarget, streamId: number, bytes: Buffer, used: number, left: number): void {
    const { shim } = this;
    const owner = shim.ownerOf(target.streamKey);
    if (owner === undefined) return this.deny();
    const { destination, details } = target;
    if (destination.protocol === 'udp' && !shim.carriesDatagrams(owner)) return this.handOver(bytes);
    this.finish();
    let admitted: Destination;
    try {
      admitted = shim.allowed.admit(destination);
    } catch (error) {
      return this.answerNo(errnoNumber(error));
    }
    if (destination.protocol === 'udp') {
      const udp = { destination, flowIdle: details?.flowIdle };
      return shim.serveDatagrams(this.datagramTunnel(owner, streamId), udp, bytes.subarray(used));
    }
    const real = admitted === destination ? target : { ...target, ...targetOf(admitted, details?.keepalive) };
    new ShimConnection(shim, this.fd, owner, streamId, real).dial(bytes.subarray(used), left);
  }

  private datagramTunnel(owner: number, streamId: number): DatagramTunnel {
    const { streams } = this.shim;
    return {
      fd: this.fd,
      answer: encodeResult(0),
      refuse: () => this.answerNo(ERRNO.ENOBUFS),
      add: (stream) => streams.add(owner, streamId, stream),
      remove: () => streams.remove(owner, streamId),
      announce: (stream, errno) => streams.announce(owner, streamId, errno, stream),
    };
  }

  private answerNo(errno: number): void {
    const { reactor } = this.shim;
    const answer = encodeResult(errno);
    answer.copy(reactor.buffer.bytes);
    reactor.libc.write(this.fd, reactor.buffer.address, answer.length);
    reactor.sockets.shutdownWrite(this.fd);
    new AbortedStream(reactor, this.fd).announced();
  }

  private deny(): void {
    this.finish();
    this.answerNo(ERRNO.EACCES);
    this.shim.log.warn(
      { code: 'PERMISSION_DENIED' },
      'stream refused: a dedicated stream carries the key of no link that is up',
    );
  }

  private handOver(bytes: Buffer): void {
    this.finish();
    this.shim.handOver(this.fd, bytes);
  }

  private refuse(why: string): void {
    this.finish();
    this.shim.reactor.close(this.fd);
    if (this.unused) this.spare?.lost(why);
    else this.shim.log.warn({}, `stream refused: ${why}`);
  }

  private use(): void {
    this.unused = false;
    this.awaitHead();
    this.spare?.used();
  }

  private awaitHead(): void {
    const { reactor } = this.shim;
    this.deadline = reactor.deadlinesOf(HEAD_MS).add(this, reactor.now);
  }

  private finish(): void {
    if (this.done) return;
    this.done = true;
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    if (this.spare === undefined) this.shim.unknown.give();
  }
}
