/** The spare streams of one link in one worker; the counterpart of data/spare-streams.ts. */
import { ERRNO, errnoName } from '../../../shared/errors.ts';
import { SpareBackoff } from '../../../shared/link/spare-backoff.ts';
import { EPOLLOUT } from '../../../shared/platform/linux/constants.ts';
import { type Deadline, removeDeadline } from '../../../shared/platform/linux/deadlines.ts';
import type { Task } from '../../../shared/platform/linux/reactor.ts';
import { type DialTarget, StreamDial } from '../../../shared/platform/linux/stream-dial.ts';
import { IncomingStream } from './incoming-stream.ts';
import type { SparesOrder } from './orders.ts';
import type { ShimWorker } from './shim-worker.ts';

/** How long the transport may take to accept a stream, milliseconds. */
const CONNECT_MS = 20_000;

export class WorkerSpares implements Task {
  readonly shim: ShimWorker;
  readonly head: Uint8Array;
  private readonly target: DialTarget;
  private readonly backoff = new SpareBackoff();
  /** Being dialled, or open and unused. */
  private readonly unused = new Set<SpareStream>();
  private wanted = 0;
  private deadline: Deadline | undefined;
  private queued = false;

  constructor(shim: ShimWorker, { head, sockaddr }: SparesOrder) {
    this.shim = shim;
    this.head = head;
    this.target = { sockaddr: Buffer.from(sockaddr), kind: shim.kind, withinMs: CONNECT_MS };
  }

  want(count: number): void {
    this.wanted = count;
    this.fillLater();
  }

  end(): void {
    this.wanted = 0;
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
    for (const stream of [...this.unused]) stream.close();
    this.unused.clear();
  }

  /** The time to try again has come. */
  expired(): void {
    this.deadline = undefined;
    this.backoff.over();
    this.fill();
  }

  used(stream: SpareStream): void {
    this.unused.delete(stream);
    this.backoff.succeeded();
    this.fillLater();
  }

  lost(stream: SpareStream, why: string, livedMs: number): void {
    this.unused.delete(stream);
    // Those beyond what the host wants are its own to close.
    if (this.unused.size >= this.wanted) return;
    const delay = this.backoff.failed(livedMs);
    if (delay === undefined) return;
    const level = this.backoff.first ? 'info' : 'debug';
    this.shim.log[level]({}, `a spare stream is opened again in ${delay} ms: ${why}`);
    const { reactor } = this.shim;
    this.deadline = reactor.deadlinesOf(delay).add(this, reactor.now);
  }

  run(): void {
    this.queued = false;
    this.fill();
  }

  /** Opening a stream needs the buffer of the reactor, and whoever calls us is about to use what is in it. */
  private fillLater(): void {
    if (this.queued) return;
    this.queued = true;
    this.shim.reactor.later(this);
  }

  private fill(): void {
    while (this.unused.size < this.wanted && !this.backoff.waits) {
      const stream = new SpareStream(this, this.target);
      this.unused.add(stream);
      stream.start();
    }
  }
}

/** One stream, from its dial to its preface. */
class SpareStream extends StreamDial {
  private readonly spares: WorkerSpares;
  private incoming: IncomingStream | undefined;
  private since: number;

  constructor(spares: WorkerSpares, target: DialTarget) {
    super(spares.shim.reactor, target);
    this.spares = spares;
    this.since = spares.shim.reactor.now;
  }

  start(): void {
    this.begin();
  }

  close(): void {
    this.closeFd();
    this.incoming?.drop();
  }

  used(): void {
    this.spares.used(this);
  }

  lost(why: string): void {
    this.spares.lost(this, why, this.reactor.now - this.since);
  }

  protected override connected(flags: number): void {
    const { reactor, spares } = this;
    const { head, shim } = spares;
    this.since = reactor.now;
    reactor.buffer.bytes.set(head);
    // A fresh stream takes a head whole.
    if (reactor.libc.write(this.fd, reactor.buffer.address, head.length) !== head.length)
      return this.failed(ERRNO.ECONNABORTED, 'write');
    this.incoming = new IncomingStream(shim, this.takeFd(), this);
    if ((flags & ~EPOLLOUT) !== 0) this.incoming.ready(flags);
  }

  protected override failed(errno: number, what: string): void {
    this.closeFd();
    this.lost(`${what}: ${errnoName(errno)}`);
  }
}
