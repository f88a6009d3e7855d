/**
 * The VM end of a UDP forward in a worker: each flow of its stream has a connected socket of its own towards the
 * container, so that a closed port harms no other flow. The counterpart of data/udp-exit.ts.
 */
import { describeDestination, type UdpDestination } from '../../../shared/destination.ts';
import { ERRNO, errnoName } from '../../../shared/errors.ts';
import { Limit } from '../../../shared/limit.ts';
import type { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { EPOLLERR, EPOLLIN } from '../../../shared/platform/linux/constants.ts';
import type { Batches } from '../../../shared/platform/linux/datagrams/batches.ts';
import { FlowStream, type FlowStreamOwner } from '../../../shared/platform/linux/datagrams/flow-stream.ts';
import type { Timed } from '../../../shared/platform/linux/deadlines.ts';
import { isExhaustion } from '../../../shared/platform/linux/errno.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import { encodeSockaddr } from '../../../shared/platform/linux/sockaddr.ts';
import type { Abortable } from '../../../shared/platform/linux/worker-streams.ts';
import { FlowTable, sweepMs, targetIdleMs } from '../../../shared/relay/udp-flows.ts';
import { Exit, type ExitOwner } from './exit.ts';
import type { ShimWorker } from './shim-worker.ts';

/** Flows of one stream; the host has the same limit for a forward, and ends the idlest first. */
const MAX_FLOWS = 1_024;
/** Room for a burst of a container while the worker is busy. */
const BUFFER_BYTES = 1024 * 1024;

/** Where the datagrams of a stream go. */
export interface UdpTarget {
  readonly destination: UdpDestination;
  /** Silence after which a flow is over, seconds; undefined for what is usual. */
  readonly flowIdle: number | undefined;
}

/** A stream of u32 frames: a dedicated one behind its preface, or what stands for a channel. */
export interface DatagramTunnel {
  /** Watched. */
  readonly fd: number;
  /** What the host is told first. */
  readonly answer: Buffer;
  /** The shim has no room for it. */
  refuse(): void;
  /** Begins to listen for an abort of the host. @returns whether there was one already: its errno */
  add(stream: Abortable): number | undefined;
  remove(): void;
  /** Says that the stream is aborted, and lets it go behind that. */
  announce(stream: AbortedStream, errno: number): void;
}

export class DatagramExits implements FlowStreamOwner, ExitOwner, Timed, Abortable {
  private readonly shim: ShimWorker;
  private readonly reactor: Reactor;
  private readonly batches: Batches;
  private readonly tunnel: DatagramTunnel;
  private readonly what: string;
  private readonly sockaddr: Buffer;
  private readonly table: FlowTable<Exit>;
  private readonly limit: Limit;
  /** By what the host calls them. */
  private readonly exits = new Map<number, Exit>();
  /** Not read because the stream is full. */
  private readonly paused = new Set<Exit>();
  private last: Exit | undefined;
  private stream: FlowStream | undefined;

  /** Takes over the stream, which is watched. */
  constructor(shim: ShimWorker, batches: Batches, tunnel: DatagramTunnel, target: UdpTarget) {
    this.shim = shim;
    this.reactor = shim.reactor;
    this.batches = batches;
    this.tunnel = tunnel;
    const { destination, flowIdle } = target;
    this.what = describeDestination(destination);
    this.sockaddr = encodeSockaddr({ family: 'ip', ip: destination.ip, port: destination.port });
    this.table = new FlowTable({
      max: MAX_FLOWS,
      idleMs: targetIdleMs(flowIdle),
      now: () => this.reactor.now,
    });
    this.limit = new Limit(`UDP flows to ${this.what}`, MAX_FLOWS, shim.log);
  }

  /** Answers the host and begins. @param early what was read from the stream behind the preface */
  start(early: Buffer): void {
    const { shim, reactor, tunnel } = this;
    if (!shim.beginDatagrams(this)) return tunnel.refuse();
    const stream = new FlowStream(reactor, tunnel.fd, this.batches.window, this);
    this.stream = stream;
    if (early.length > 0) stream.rest = Buffer.from(early);
    stream.write(tunnel.answer);
    this.sweepLater();
    const aborted = tunnel.add(this);
    if (aborted !== undefined) this.lose();
  }

  /** The shim is stopping. */
  stop(): void {
    this.abort(ERRNO.ECANCELED);
  }

  resetByPeer(): void {
    this.lose();
  }

  expired(): void {
    if (this.stream === undefined) return;
    for (const { value } of this.table.sweep()) this.finish(value);
    this.sweepLater();
  }

  frame(flow: number, ended: boolean, at: number, length: number): void {
    const { send, window } = this.batches;
    if (this.last?.flow !== flow) this.passed();
    const exit = this.last?.flow === flow ? this.last : this.exits.get(flow);
    if (ended) {
      this.passed();
      if (exit !== undefined) this.release(exit);
      return;
    }
    this.last = exit ?? this.open(flow);
    if (this.last === undefined) return;
    this.touch(this.last);
    send.add(this.last, window.address + at, length);
    if (send.full) this.passed();
  }

  /** Sends what was collected; all of it is the last flow's. */
  passed(): void {
    if (this.last !== undefined) this.batches.send.flush(this.last.fd);
  }

  drained(): void {
    for (const exit of this.paused) this.reactor.rewatch(exit.fd, EPOLLIN);
    this.paused.clear();
  }

  over(why: string, malformed: boolean): void {
    this.shim.log.debug({}, `datagrams to ${this.what}: ${why}`);
    if (malformed) this.abort(ERRNO.EPROTO);
    else this.lose();
  }

  exitReady(exit: Exit, flags: number): void {
    const { reactor, stream, batches } = this;
    // A closed port of the container is told here (ECONNREFUSED): the flow waits for it to open.
    if ((flags & EPOLLERR) !== 0) reactor.sockets.pendingError(exit.fd);
    if ((flags & EPOLLIN) === 0 || stream === undefined) return;
    if (stream.blocked) {
      this.paused.add(exit);
      reactor.rewatch(exit.fd, 0);
      return;
    }
    const batch = batches.receive;
    const count = batch.receive(exit.fd);
    if (count <= 0) return;
    let bytes = 0;
    for (let index = 0; index < count; index++) {
      if (batch.truncated(index)) batch.skip(index);
      else bytes += batch.frame(index, exit.header);
    }
    this.touch(exit);
    stream.writeBatch(batch, count, bytes);
  }

  private touch(exit: Exit): void {
    const { now } = this.reactor;
    if (exit.touched === now) return;
    exit.touched = now;
    this.table.touchById(exit.id);
  }

  /** A flow's socket counts as a connection, so that flows cannot use up the descriptors of those. */
  private open(flow: number): Exit | undefined {
    const { shim, reactor, batches } = this;
    if (!shim.takePlace()) return undefined;
    const fd = batches.sockets.connect(this.sockaddr, BUFFER_BYTES);
    if (fd < 0) {
      shim.givePlace();
      if (isExhaustion(-fd)) shim.exhausted(-fd);
      else shim.log.info({}, `cannot send datagrams to ${this.what}: ${errnoName(-fd)}`);
      this.stream?.writeEnd(flow);
      return undefined;
    }
    reactor.own(fd);
    const touched = this.table.touchByKey(`${flow}`, (id) => new Exit(fd, flow, id, this));
    const exit = touched.flow.value;
    this.exits.set(flow, exit);
    if (touched.evicted !== undefined) {
      this.limit.refuse();
      this.finish(touched.evicted.value);
    }
    if (reactor.watch(fd, EPOLLIN, exit) === 0) return exit;
    this.table.delete(exit.id);
    this.finish(exit);
    return undefined;
  }

  /** Ends a flow that is in the table no longer, and says so. */
  private finish(exit: Exit): void {
    this.stream?.writeEnd(exit.flow);
    this.release(exit);
  }

  private release(exit: Exit): void {
    this.table.delete(exit.id);
    this.exits.delete(exit.flow);
    this.paused.delete(exit);
    if (this.last === exit) this.last = undefined;
    this.reactor.close(exit.fd);
    this.shim.givePlace();
  }

  /** The stream is over on the other side. */
  private lose(): void {
    if (this.stream === undefined) return;
    this.tunnel.remove();
    this.stream.close();
    this.close();
  }

  private abort(errno: number): void {
    const { stream, tunnel } = this;
    if (stream === undefined) return;
    tunnel.remove();
    tunnel.announce(stream.giveUp(), errno);
    this.close();
  }

  private close(): void {
    this.stream = undefined;
    for (const exit of [...this.exits.values()]) this.release(exit);
    this.shim.datagramsOver(this);
  }

  private sweepLater(): void {
    this.reactor.deadlinesOf(sweepMs(this.table.idleMs)).add(this, this.reactor.now);
  }
}
