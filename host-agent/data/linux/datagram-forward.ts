/**
 * A UDP forward in the worker that carries it: batches from its socket become frames of one stream that has all
 * flows, and frames of that stream become datagrams again. The counterpart of data/udp-forward.ts.
 */
import type { ByteRate } from '../../../shared/byte-rate.ts';
import { ERRNO } from '../../../shared/errors.ts';
import { Limit } from '../../../shared/limit.ts';
import { EPOLLERR, EPOLLIN } from '../../../shared/platform/linux/constants.ts';
import type { Batches } from '../../../shared/platform/linux/datagrams/batches.ts';
import { FlowStream, type FlowStreamOwner } from '../../../shared/platform/linux/datagrams/flow-stream.ts';
import { BATCH, type ReceiveBatch } from '../../../shared/platform/linux/datagrams/receive-batch.ts';
import type { Timed } from '../../../shared/platform/linux/deadlines.ts';
import { systemError } from '../../../shared/platform/linux/errno.ts';
import type { Reactor, Watcher } from '../../../shared/platform/linux/reactor.ts';
import { sweepMs } from '../../../shared/relay/udp-flows.ts';
import type { Client } from './datagram-client.ts';
import { DatagramClients } from './datagram-clients.ts';
import {
  DATAGRAM_BYTES_DOWN,
  DATAGRAM_BYTES_UP,
  DATAGRAM_COUNTERS,
  DATAGRAMS_DOWN,
  DATAGRAMS_UP,
  type DatagramForwardOrder,
  DROPPED,
  FLOWS,
  FLOWS_CREATED,
  FLOWS_EVICTED,
  FLOWS_EXPIRED,
  SEND_ERRORS,
} from './datagram-orders.ts';
import { type DatagramContext, DatagramRoute } from './datagram-route.ts';

/** Datagrams held while the stream is being opened; the rest is dropped. */
const MAX_HELD = 64;
/** Batches in a row before others get their turn. */
const MAX_BATCHES = 4;

export class DatagramForward implements Watcher, Timed, FlowStreamOwner {
  readonly id: number;
  readonly route: DatagramRoute;
  private readonly name: string;
  private readonly fd: number;
  private readonly context: DatagramContext;
  private readonly reactor: Reactor;
  private readonly batches: Batches;
  private readonly clients: DatagramClients;
  private readonly counters: Float64Array;
  /** Of bytes of the VM. */
  private readonly rate: ByteRate;
  private readonly evicted: Client[] = [];
  private stream: FlowStream | undefined;
  private held: Buffer[] = [];
  private heldBytes = 0;
  private closed = false;

  /** Begins to receive. */
  constructor(order: DatagramForwardOrder, context: DatagramContext, batches: Batches) {
    this.id = order.id;
    this.name = order.name;
    this.fd = order.fd;
    this.context = context;
    this.reactor = context.reactor;
    this.batches = batches;
    this.counters = new Float64Array(order.counters, 0, DATAGRAM_COUNTERS);
    this.rate = context.reactor.paceOf(order.bytes).rate;
    this.route = new DatagramRoute(order, context, {
      opened: (fd) => this.opened(fd),
      failed: (why) => this.failed(why),
      aborted: () => this.lose(),
    });
    const limit = new Limit(`UDP flows of ${order.name}`, order.maxFlows, context.log);
    this.clients = new DatagramClients({
      max: order.maxFlows,
      shared: Limit.of(order.flows, context.log),
      idleMs: order.flowIdle === undefined ? undefined : order.flowIdle * 1000,
      bound: order.local,
      now: () => this.reactor.now,
      created: (evicted) => {
        this.counters[FLOWS_CREATED]!++;
        if (evicted === undefined) return;
        this.counters[FLOWS_EVICTED]!++;
        if (this.clients.size >= order.maxFlows) limit.refuse();
        this.evicted.push(evicted);
      },
    });
    const errno = this.reactor.watch(this.fd, EPOLLIN, this);
    if (errno !== 0) throw systemError('epoll_ctl', order.name, errno);
    this.sweepLater();
  }

  /** Receives no more; the socket is the main thread's to close. */
  close(): void {
    this.closed = true;
    this.reactor.unwatch(this.fd);
    this.held = [];
    const { stream } = this;
    this.stream = undefined;
    this.route.close(stream);
    this.clients.clear();
    this.counters[FLOWS] = 0;
  }

  expired(): void {
    if (this.closed) return;
    const gone = this.clients.sweep();
    this.counters[FLOWS_EXPIRED]! += gone.length;
    this.counters[FLOWS] = this.clients.size;
    for (const { flow } of gone) this.stream?.writeEnd(flow);
    this.sweepLater();
  }

  ready(flags: number): void {
    if ((flags & EPOLLERR) !== 0 && this.reactor.sockets.pendingError(this.fd) !== 0)
      this.counters[SEND_ERRORS]!++;
    if ((flags & EPOLLIN) === 0) return;
    const batch = this.batches.receive;
    for (let batches = 0; batches < MAX_BATCHES && !this.closed; batches++) {
      const count = batch.receive(this.fd);
      if (count < 0) {
        if (this.reactor.libc.errno() !== ERRNO.EAGAIN) this.counters[SEND_ERRORS]!++;
        return;
      }
      this.take(batch, count);
      if (count < BATCH || this.stream?.blocked === true) return;
    }
  }

  frame(flow: number, ended: boolean, at: number, length: number): void {
    const { send, window } = this.batches;
    if (ended) {
      this.passed(); // what was sent before it belongs to the flow
      this.clients.end(flow);
      this.counters[FLOWS] = this.clients.size;
      return;
    }
    const client = this.clients.byFlow(flow);
    if (client === undefined || !this.rate.admit(length)) {
      this.counters[DROPPED]!++;
      return;
    }
    this.counters[DATAGRAMS_DOWN]!++;
    this.counters[DATAGRAM_BYTES_DOWN]! += length;
    send.add(client, window.address + at, length);
    if (send.full) this.passed();
  }

  passed(): void {
    const { send } = this.batches;
    const before = send.errors;
    send.flush(this.fd);
    this.counters[SEND_ERRORS]! += send.errors - before;
  }

  drained(): void {
    this.reactor.rewatch(this.fd, EPOLLIN);
  }

  over(why: string, malformed: boolean): void {
    this.context.log.info({ forward: this.name }, `datagrams have lost their way: ${why}`);
    const { stream } = this;
    if (!malformed || stream === undefined) return this.lose();
    this.stream = undefined;
    this.route.abort(stream, ERRNO.EPROTO);
    this.drained();
  }

  private take(batch: ReceiveBatch, count: number): void {
    const { counters, rate } = this;
    let framed = 0;
    let bytes = 0;
    let payload = 0;
    for (let index = 0; index < count; index++) {
      if (batch.truncated(index)) {
        counters[DROPPED]!++;
        batch.skip(index);
        continue;
      }
      const { header } = this.clients.find(batch, index);
      const length = batch.length(index);
      if (!rate.admit(length)) {
        counters[DROPPED]!++;
        batch.skip(index);
        continue;
      }
      framed++;
      payload += length;
      bytes += batch.frame(index, header);
    }
    counters[FLOWS] = this.clients.size;
    const { stream } = this;
    if (stream === undefined) this.hold(batch, count);
    else {
      counters[DATAGRAMS_UP]! += framed;
      counters[DATAGRAM_BYTES_UP]! += payload;
      stream.writeBatch(batch, count, bytes);
      this.heed(stream);
    }
    // An end goes behind the last datagrams of its flow.
    for (const { flow } of this.evicted.splice(0)) stream?.writeEnd(flow);
  }

  /** A full stream stops the reading: the kernel drops then, which costs least. */
  private heed(stream: FlowStream): void {
    if (stream.blocked) this.reactor.rewatch(this.fd, 0);
  }

  private hold(batch: ReceiveBatch, count: number): void {
    const opens = this.route.open();
    for (let index = 0; index < count; index++) {
      const frame = batch.copy(index);
      if (frame === undefined) continue;
      if (!opens || this.held.length >= MAX_HELD) {
        this.counters[DROPPED]!++;
        continue;
      }
      this.held.push(frame);
      this.heldBytes += batch.length(index);
    }
  }

  private opened(fd: number): void {
    const stream = new FlowStream(this.reactor, fd, this.batches.window, this);
    this.stream = stream;
    this.counters[DATAGRAMS_UP]! += this.held.length;
    this.counters[DATAGRAM_BYTES_UP]! += this.heldBytes;
    stream.write(Buffer.concat(this.held));
    this.held = [];
    this.heldBytes = 0;
    this.heed(stream);
  }

  private failed(why: string): void {
    this.counters[DROPPED]! += this.held.length;
    this.held = [];
    this.heldBytes = 0;
    if (why !== '') this.context.log.info({ forward: this.name }, `datagrams dropped: ${why}`);
  }

  private lose(): void {
    this.stream?.close();
    this.stream = undefined;
    this.route.lost();
    if (!this.closed) this.drained();
  }

  private sweepLater(): void {
    this.reactor.deadlinesOf(sweepMs(this.clients.idleMs)).add(this, this.reactor.now);
  }
}
