import { type Destination, decodeDestination } from '../../../shared/destination.ts';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { Limit } from '../../../shared/limit.ts';
import { EPOLLEXCLUSIVE, EPOLLIN } from '../../../shared/platform/linux/constants.ts';
import type { Timed } from '../../../shared/platform/linux/deadlines.ts';
import { isExhaustion } from '../../../shared/platform/linux/errno.ts';
import type { WorkerLog } from '../../../shared/platform/linux/messages.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import type { Reactor, Watcher } from '../../../shared/platform/linux/reactor.ts';
import { relayCounters } from '../../../shared/platform/linux/relay.ts';
import type { WorkerStreams } from '../../../shared/platform/linux/worker-streams.ts';
import type { RelayCounters } from '../../../shared/relay/connection.ts';
import { ChannelConnection } from './channel-connection.ts';
import { EarlyGuess } from './early-guess.ts';
import { HostConnection } from './host-connection.ts';
import type { HostPath } from './host-path.ts';
import {
  ACCEPTED,
  ACTIVE,
  DIAL_FAILURES,
  FORWARD_COUNTERS,
  type ForwardOrder,
  type HostShared,
  RESETS,
} from './orders.ts';

/** Clients taken in a row before others get their turn. */
const MAX_ACCEPTS = 32;
/** How long nobody is accepted when descriptors or memory have run out, milliseconds. */
const PAUSE_MS = 100;

/** What a listener finds in its worker. */
export interface ListenerContext {
  readonly reactor: Reactor;
  readonly index: number;
  /** How many workers there are. */
  readonly count: number;
  readonly streams: WorkerStreams;
  readonly shared: HostShared;
  readonly limit: Limit;
  readonly log: WorkerLog;
  /** The path to a VM, when its link is up and able to carry dedicated streams. */
  pathOf(vm: number): HostPath | undefined;
  /** The link to a VM, when this worker carries it. */
  linkOf(vm: number): WorkerLink | undefined;
  /** Leaves a client to the main thread. */
  handOver(forward: number, fd: number): void;
}

/** A client that is being served. */
export interface ServedClient {
  /** Ends it at once, both sides by a reset. */
  stop(): void;
}

/** One forward in one worker: accepts its clients, of which other workers may accept others. */
export class ForwardListener implements Watcher, Timed {
  readonly id: number;
  readonly vm: number;
  readonly tcp: boolean;
  readonly destination: Uint8Array;
  /** The same, decoded. */
  readonly target: Destination;
  readonly counters: Float64Array;
  /** Its first two elements, as a Connection counts. */
  readonly relayed: RelayCounters;
  readonly reactor: Reactor;
  readonly streams: WorkerStreams;
  readonly shared: HostShared;
  /** Whether clients of this forward have mostly sent something by the time they are accepted. */
  readonly early = new EarlyGuess();
  private readonly context: ListenerContext;
  private readonly name: string;
  private readonly listenFd: number;
  private readonly limit: Limit;
  private readonly connections = new Set<ServedClient>();
  private accepting: boolean;
  private listening = false;
  private closed = false;
  private toldOfExhaustion = false;

  /** @param accepting whether clients are accepted in this worker */
  constructor(order: ForwardOrder, context: ListenerContext, accepting: boolean) {
    this.id = order.id;
    this.vm = order.vm;
    this.tcp = order.tcp;
    this.name = order.name;
    this.destination = order.destination;
    this.target = decodeDestination(Buffer.from(order.destination), 0).destination;
    this.listenFd = order.listenFd;
    this.context = context;
    this.reactor = context.reactor;
    this.streams = context.streams;
    this.shared = context.shared;
    this.limit = new Limit(`connections of ${order.name}`, order.maxConnections, context.log, order.limit);
    this.counters = new Float64Array(
      order.counters,
      context.index * FORWARD_COUNTERS * Float64Array.BYTES_PER_ELEMENT,
      FORWARD_COUNTERS,
    );
    this.relayed = relayCounters(this.counters);
    this.accepting = accepting;
    if (accepting) this.listen();
  }

  /** Whether clients are accepted in this worker from now on. */
  accept(accepting: boolean): void {
    this.accepting = accepting;
    if (this.closed || accepting === this.listening) return;
    if (accepting) return this.listen();
    this.deafen();
  }

  /** Nobody is left whom this forward serves here. */
  get idle(): boolean {
    return this.connections.size === 0;
  }

  /** Accepts nobody any more. @param now also ends the connections that run */
  close(now: boolean): void {
    this.closed = true;
    this.deafen();
    if (now) for (const connection of [...this.connections]) connection.stop();
  }

  expired(): void {
    if (!this.closed && !this.listening && this.accepting) this.listen();
  }

  ready(): void {
    for (let accepts = 0; accepts < MAX_ACCEPTS; accepts++) {
      const fd = this.reactor.sockets.accept(this.listenFd);
      if (fd < 0) return this.refused(this.reactor.libc.errno());
      this.reactor.own(fd);
      this.serve(fd, this.tcp ? this.reactor.sockets.peer : NOBODY);
      if (this.context.count > 1) return this.rotate();
    }
  }

  /** Serves a client whose descriptor is ours and not watched. @param peer its address as the kernel wrote it */
  serve(fd: number, peer: Buffer): void {
    const { context } = this;
    const link = context.linkOf(this.vm);
    const path = link === undefined ? context.pathOf(this.vm) : undefined;
    if (link === undefined && path === undefined) {
      this.reactor.release(fd);
      context.handOver(this.id, fd);
      return;
    }
    this.counters[ACCEPTED]!++;
    if (!context.limit.take()) return this.turnAway(fd);
    if (!this.limit.take()) {
      context.limit.give();
      return this.turnAway(fd);
    }
    this.counters[ACTIVE]!++;
    if (link !== undefined) return this.begin(new ChannelConnection(this, link, fd));
    this.begin(new HostConnection(this, path!, fd, Buffer.from(peer.subarray(0, 28))));
  }

  dialFailed(why: string): void {
    this.counters[DIAL_FAILURES]!++;
    this.context.log.info({ forward: this.name }, `a client was reset: ${why}`);
  }

  released(connection: ServedClient, errno: number): void {
    this.connections.delete(connection);
    this.counters[ACTIVE]!--;
    this.limit.give();
    this.context.limit.give();
    if (errno !== 0) this.counters[RESETS]!++;
  }

  private begin(connection: ChannelConnection | HostConnection): void {
    this.connections.add(connection);
    connection.begin();
  }

  private turnAway(fd: number): void {
    this.counters[RESETS]!++;
    this.reactor.reset(fd);
  }

  private deafen(): void {
    if (this.listening) this.reactor.unwatch(this.listenFd);
    this.listening = false;
  }

  private listen(): void {
    const errno = this.reactor.watch(this.listenFd, EPOLLIN | EPOLLEXCLUSIVE, this);
    if (errno !== 0) throw new BridgeError('IO', `epoll_ctl on the listener of ${this.name}`, { errno });
    this.listening = true;
  }

  /** The kernel wakes the worker that has waited longest on the listener (EPOLLEXCLUSIVE): the others come first now. */
  private rotate(): void {
    if (!this.listening) return;
    this.reactor.unwatch(this.listenFd);
    this.listen();
  }

  private refused(errno: number): void {
    if (!isExhaustion(errno)) {
      if (errno !== ERRNO.EAGAIN) this.context.log.debug({ forward: this.name, errno }, 'accept failed');
      else this.toldOfExhaustion = false;
      return;
    }
    if (!this.toldOfExhaustion)
      this.context.log.warn(
        { forward: this.name, errno },
        'out of descriptors or memory: accepting is paused',
      );
    this.toldOfExhaustion = true;
    this.deafen();
    this.reactor.deadlinesOf(PAUSE_MS).add(this, this.reactor.now);
  }
}

const NOBODY = Buffer.alloc(2);
