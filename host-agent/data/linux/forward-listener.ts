import { type Destination, decodeDestination, describeDestination } from '../../../shared/destination.ts';
import type { ErrorCode } from '../../../shared/errors.ts';
import type { ForwardOptions } from '../../../shared/forward-options.ts';
import { giveAll, Limit, takeAll } from '../../../shared/limit.ts';
import { dialCode } from '../../../shared/link/dial-error.ts';
import { SharedCounters } from '../../../shared/link/shared-counters.ts';
import type { Pace } from '../../../shared/pace.ts';
import { AcceptLoop, type AcceptOwner } from '../../../shared/platform/linux/accept-loop.ts';
import type { WorkerLog } from '../../../shared/platform/linux/messages.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import type { WorkerStreams } from '../../../shared/platform/linux/worker-streams.ts';
import { RateLimit } from '../../../shared/rate-limit.ts';
import type { RelayCounters } from '../../../shared/relay/connection.ts';
import { IdleWatch, type Watched } from '../../../shared/relay/idle-watch.ts';
import { sweepMs } from '../../../shared/relay/udp-flows.ts';
import { type ClientAddress, encodeFields } from '../../../shared/stream-details.ts';
import { proxyHeader } from '../proxy-header.ts';
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
  IDLE_TIMEOUTS,
  PAUSES,
  REFUSED,
  RESETS,
} from './orders.ts';

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
  /** Tells the main thread that a client could not be served. */
  dialFailed(forward: number, errno: number): void;
  /** Leaves a client to the main thread. */
  handOver(forward: number, fd: number): void;
}

/** A client that is being served. */
export interface ServedClient extends Watched {
  /** Ends it at once, both sides by a reset. */
  stop(): void;
}

/** One forward in one worker: accepts its clients, of which other workers may accept others. */
export class ForwardListener implements AcceptOwner {
  readonly id: number;
  readonly vm: number;
  readonly tcp: boolean;
  readonly destination: Uint8Array;
  /** The same, decoded. */
  readonly target: Destination;
  readonly settings: ForwardOptions;
  readonly fields: Uint8Array;
  readonly counters: Float64Array;
  /** Its first two elements, as a Connection counts. */
  readonly relayed: RelayCounters;
  readonly reactor: Reactor;
  readonly streams: WorkerStreams;
  readonly shared: HostShared;
  /** Whether clients of this forward have mostly sent something by the time they are accepted. */
  readonly early = new EarlyGuess();
  /** How fast bytes of its VM may pass. */
  readonly pace: Pace;
  private readonly context: ListenerContext;
  private readonly name: string;
  private readonly listenFd: number;
  /** Every connection counts in each. */
  private readonly limits: readonly Limit[];
  private readonly rate: RateLimit;
  private readonly connections = new Set<ServedClient>();
  private closed = false;
  private readonly clients: AcceptLoop;

  /** @param accepting whether clients are accepted in this worker */
  constructor(order: ForwardOrder, context: ListenerContext, accepting: boolean) {
    this.id = order.id;
    this.vm = order.vm;
    this.tcp = order.tcp;
    this.name = order.name;
    this.destination = order.destination;
    this.target = decodeDestination(Buffer.from(order.destination), 0).destination;
    this.settings = order.settings;
    this.fields = encodeFields(order.settings);
    this.listenFd = order.listenFd;
    this.context = context;
    this.reactor = context.reactor;
    this.streams = context.streams;
    this.shared = context.shared;
    this.limits = [...order.limits.map((each) => Limit.of(each, context.log)), context.limit];
    this.rate = RateLimit.of(order.rate, context.log);
    this.pace = context.reactor.paceOf(order.bytes);
    const counters = new Float64Array(order.counters);
    const first = context.index * FORWARD_COUNTERS;
    this.counters = counters.subarray(first, first + FORWARD_COUNTERS);
    this.clients = new AcceptLoop({
      reactor: context.reactor,
      log: context.log,
      fields: { forward: order.name },
      name: `the listener of ${order.name}`,
      load: {
        counts: counters,
        first: ACTIVE,
        stride: FORWARD_COUNTERS,
        workers: context.count,
        index: context.index,
      },
      owner: this,
    });
    this.relayed = new SharedCounters(this.counters);
    const { idleTimeout } = order.settings;
    if (idleTimeout !== undefined) this.watchIdle(idleTimeout * 1000);
    this.accept(accepting);
  }

  /** Whether clients are accepted in this worker from now on. */
  accept(accepting: boolean): void {
    if (this.closed) return;
    if (accepting) this.clients.start(this.listenFd);
    else this.clients.stop();
  }

  /** The listener, which was out of listening, listens again. */
  listenAgain(): void {
    this.clients.listenAgain();
  }

  /** Nobody is left whom this forward serves here. */
  get idle(): boolean {
    return this.connections.size === 0;
  }

  /** Accepts nobody any more. @param now also ends the connections that run */
  close(now: boolean): void {
    this.closed = true;
    this.clients.stop();
    if (now) for (const connection of [...this.connections]) connection.stop();
  }

  /** Descriptors or memory have run out, here or for a client that was accepted. */
  exhausted(errno: number): void {
    this.clients.exhausted(errno);
  }

  accepted(fd: number): void {
    if (this.rate.take()) this.serve(fd, this.tcp ? this.reactor.sockets.peer : NOBODY);
    else this.refuse(fd);
  }

  /** Not where one worker carries the link of the VM and so has every client. */
  takesTurns(): boolean {
    return this.context.linkOf(this.vm) === undefined;
  }

  paused(): void {
    this.counters[PAUSES]!++;
  }

  /** A client was not carried. @param client where it came from, if that is an IP address */
  dialFailed(
    errno: number,
    why: string,
    client: ClientAddress | undefined,
    code: ErrorCode = dialCode(errno),
  ): void {
    this.counters[DIAL_FAILURES]!++;
    if (this.settings.wait !== undefined) this.context.dialFailed(this.id, errno);
    const fields = { forward: this.name, client, code };
    this.context.log.info(
      fields,
      `a client was reset: ${describeDestination(this.target)} in the VM: ${why}`,
    );
  }

  released(connection: ServedClient, errno: number): void {
    this.connections.delete(connection);
    this.counters[ACTIVE]!--;
    giveAll(this.limits);
    if (errno !== 0) this.counters[RESETS]!++;
  }

  /** What its container is told of a client before the client's first byte, where it is told anything. */
  headerFor(fd: number): Buffer | undefined {
    const { proxyProtocol } = this.settings;
    if (proxyProtocol === undefined) return undefined;
    const { sockets } = this.reactor;
    const client = this.tcp ? sockets.remoteAddress(fd) : undefined;
    const local = this.tcp ? sockets.localAddress(fd) : undefined;
    const ends = client === undefined || local === undefined ? undefined : { client, local };
    return proxyHeader(proxyProtocol, ends);
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
    if (!takeAll(this.limits)) return this.refuse(fd);
    this.counters[ACCEPTED]!++;
    this.counters[ACTIVE]!++;
    const connection =
      link !== undefined
        ? new ChannelConnection(this, link, fd, peer)
        : new HostConnection(this, path!, fd, Buffer.from(peer.subarray(0, 28)));
    this.connections.add(connection);
    connection.serve();
  }

  /** Ends connections that have been silent for too long, as long as there may be some. */
  private watchIdle(idleMs: number): void {
    const watch = new IdleWatch<ServedClient>(idleMs);
    const list = this.reactor.deadlinesOf(sweepMs(idleMs));
    const look = {
      expired: () => {
        for (const connection of watch.look(this.connections, this.reactor.now)) {
          this.counters[IDLE_TIMEOUTS]!++;
          connection.stop();
        }
        if (!this.closed || !this.idle) list.add(look, this.reactor.now);
      },
    };
    list.add(look, this.reactor.now);
  }

  /** Turns a client away because a limit is reached. */
  private refuse(fd: number): void {
    this.counters[ACCEPTED]!++;
    this.counters[REFUSED]!++;
    this.counters[RESETS]!++;
    this.reactor.reset(fd);
  }
}

const NOBODY = Buffer.alloc(2);
