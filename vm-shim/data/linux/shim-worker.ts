import { Limit } from '../../../shared/limit.ts';
import { AcceptLoop, type AcceptOwner } from '../../../shared/platform/linux/accept-loop.ts';
import { Batches } from '../../../shared/platform/linux/datagrams/batches.ts';
import { WorkerLog } from '../../../shared/platform/linux/messages.ts';
import { WorkerLinks } from '../../../shared/platform/linux/mux/worker-links.ts';
import { PeerCheck } from '../../../shared/platform/linux/peer-check.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import { type SideKind, TUNNEL_UNIX, tunnelKind } from '../../../shared/platform/linux/side.ts';
import { familyOf } from '../../../shared/platform/linux/sockaddr.ts';
import { WorkerStreams } from '../../../shared/platform/linux/worker-streams.ts';
import type { WorkerContext, WorkerProgram } from '../../../shared/platform/linux/worker-thread.ts';
import { AllowedDestinations } from '../allowed-destinations.ts';
import { DatagramExits, type DatagramTunnel, type UdpTarget } from './datagram-exits.ts';
import { IncomingChannel } from './incoming-channel.ts';
import { IncomingStream } from './incoming-stream.ts';
import type { ShimOrder, ShimReport, ShimShared, SparesOrder } from './orders.ts';
import { TargetCache } from './target-cache.ts';
import { WorkerSpares } from './worker-spares.ts';

/** Streams at once that have not said what they are. */
const MAX_UNKNOWN = 512;

/** A connection of this worker, on whichever lane it came. */
export interface Carried {
  /** Ends it at once, both sides by a reset. */
  stop(): void;
}

/** The VM shim's part of a worker: accepts streams at the well-known port and dials containers. */
export class ShimWorker implements WorkerProgram<ShimOrder>, AcceptOwner {
  readonly reactor: Reactor;
  readonly streams: WorkerStreams;
  readonly log: WorkerLog;
  /** Of streams that have not said what they are. */
  readonly unknown: Limit;
  readonly targets = new TargetCache();
  readonly allowed: AllowedDestinations;
  /** What the streams at the well-known port are. */
  kind: SideKind = TUNNEL_UNIX;
  private readonly worker: WorkerContext<ShimReport, ShimShared>;
  private readonly limit: Limit;
  private readonly links: WorkerLinks;
  private readonly owners = new Map<string, number>();
  /** Instances of the host agent whose datagrams come in u32 frames. */
  private readonly withFlows = new Set<number>();
  private readonly datagrams = new Set<DatagramExits>();
  private batches: Batches | undefined;
  private readonly connections = new Set<Carried>();
  private readonly spares = new Map<string, WorkerSpares>();
  private peers: PeerCheck | undefined;
  private readonly incoming: AcceptLoop;

  constructor(worker: WorkerContext<ShimReport, ShimShared>) {
    this.worker = worker;
    this.reactor = worker.reactor;
    this.streams = new WorkerStreams(worker.reactor, worker.post);
    this.log = new WorkerLog(worker.post);
    this.links = new WorkerLinks(worker.reactor, worker.post, (channel, link) =>
      new IncomingChannel(this, link, channel).serve(),
    );
    this.limit = Limit.of(worker.shared.limit, this.log);
    this.allowed = new AllowedDestinations(worker.shared.allowed, this.log);
    this.unknown = new Limit('streams that have not said what they are', MAX_UNKNOWN, this.log);
    this.incoming = new AcceptLoop({
      reactor: worker.reactor,
      log: this.log,
      fields: {},
      name: 'the listener of the VM shim',
      load: {
        counts: worker.shared.active,
        first: 0,
        stride: 1,
        workers: worker.count,
        index: worker.index,
      },
      owner: this,
    });
  }

  take(order: ShimOrder): void {
    if (this.streams.take(order) || this.links.take(order)) return;
    switch (order.type) {
      case 'listen':
        this.kind = tunnelKind(order.listener.family);
        this.peers = new PeerCheck(order.listener.peers, order.listener.refused, this.log);
        return this.incoming.start(order.listener.fd);
      case 'unlisten':
        this.incoming.stop();
        return this.worker.post({ type: 'deaf' });
      case 'key':
        this.owners.set(order.key, order.owner);
        if (order.udpFlows) this.withFlows.add(order.owner);
        return;
      case 'key-gone':
        this.owners.delete(order.key);
        return;
      case 'spares':
        return this.wantSpares(order.spares);
      case 'spares-over':
        this.spares.get(order.key)?.end();
        this.spares.delete(order.key);
        return;
      case 'stop':
        for (const spares of this.spares.values()) spares.end();
        for (const connection of [...this.connections]) connection.stop();
        for (const exits of [...this.datagrams]) exits.stop();
        this.links.closeAll();
        return this.reactor.stop();
    }
  }

  /** The instance that a key belongs to; orders that are on their way are fetched before a key is unknown. */
  ownerOf(streamKey: Buffer): number | undefined {
    const key = streamKey.toString('hex');
    if (!this.owners.has(key)) this.worker.fetch();
    return this.owners.get(key);
  }

  /** @returns whether there is room for it */
  begin(connection: Carried): boolean {
    if (!this.takePlace()) return false;
    this.connections.add(connection);
    return true;
  }

  released(connection: Carried): void {
    if (this.connections.delete(connection)) this.givePlace();
  }

  /** Takes a place among the connections of the shim, for something that has a socket. */
  takePlace(): boolean {
    if (!this.limit.take()) return false;
    this.worker.shared.active[this.worker.index]!++;
    return true;
  }

  givePlace(): void {
    this.worker.shared.active[this.worker.index]!--;
    this.limit.give();
  }

  /** Whether this worker carries the datagrams of an instance; the main thread does otherwise. */
  carriesDatagrams(owner: number): boolean {
    return this.withFlows.has(owner);
  }

  /** Serves a stream of datagrams until it ends. @param early what was read from it behind the preface */
  serveDatagrams(stream: DatagramTunnel, target: UdpTarget, early: Buffer): void {
    this.batches ??= new Batches(this.reactor.libc, false);
    new DatagramExits(this, this.batches, stream, target).start(early);
  }

  /** @returns whether there is room for it */
  beginDatagrams(exits: DatagramExits): boolean {
    if (!this.takePlace()) return false;
    this.datagrams.add(exits);
    return true;
  }

  datagramsOver(exits: DatagramExits): void {
    if (this.datagrams.delete(exits)) this.givePlace();
  }

  /** Leaves a stream to the main thread. @param bytes what was read from it */
  handOver(fd: number, bytes: Buffer): void {
    this.reactor.release(fd);
    this.worker.post({ type: 'stream', fd, bytes: Uint8Array.from(bytes) });
  }

  /** Descriptors or memory have run out, here or for a stream that was accepted. */
  exhausted(errno: number): void {
    this.incoming.exhausted(errno);
  }

  accepted(fd: number): void {
    if (this.peers?.admits(this.reactor.sockets.peer) !== false && this.unknown.take())
      new IncomingStream(this, fd);
    else this.reactor.close(fd);
  }

  takesTurns(): boolean {
    return true;
  }

  paused(): void {}

  private wantSpares(order: SparesOrder): void {
    this.kind = tunnelKind(familyOf(Buffer.from(order.sockaddr)));
    let spares = this.spares.get(order.key);
    if (spares === undefined) {
      spares = new WorkerSpares(this, order);
      this.spares.set(order.key, spares);
    }
    const { index, count } = this.worker;
    spares.want(Math.floor((order.count + count - 1 - index) / count));
  }
}
