/** The Linux engine of the host agent, seen from the main thread: its workers, the ways to the VMs, its forwards. */
import { type Destination, encodeDestination } from '../../../shared/destination.ts';
import { ERRNO } from '../../../shared/errors.ts';
import type { ForwardOptions } from '../../../shared/forward-options.ts';
import type { Limit } from '../../../shared/limit.ts';
import { dialError } from '../../../shared/link/dial-error.ts';
import type { PeerStreams } from '../../../shared/link/peer-streams.ts';
import type { CarriedSession, SessionCarrier } from '../../../shared/link/session-settings.ts';
import type { Logger } from '../../../shared/logger.ts';
import { Arena } from '../../../shared/platform/linux/arena.ts';
import type { Libc } from '../../../shared/platform/linux/libc.ts';
import { MainStreams } from '../../../shared/platform/linux/main-streams.ts';
import { MainLinks } from '../../../shared/platform/linux/mux/main-links.ts';
import {
  type Listener,
  openTcpListener,
  openUnixListener,
  openWaitingTcpListener,
} from '../../../shared/platform/linux/open-listener.ts';
import { encodeSockaddr, transportSockaddr } from '../../../shared/platform/linux/sockaddr.ts';
import { Sockets } from '../../../shared/platform/linux/sockets.ts';
import { WorkerPool } from '../../../shared/platform/linux/worker-pool.ts';
import { workerUrl } from '../../../shared/platform/linux/worker-url.ts';
import { encodeDetails } from '../../../shared/stream-details.ts';
import type { PlainAddress } from '../../../shared/transport/address.ts';
import type { BackendPort } from '../backend-watch.ts';
import type { DataLimits } from '../forward.ts';
import type { SpareShelf } from '../spare-shelf.ts';
import { type LinkSource, WHERE } from '../tunnel.ts';
import type { DatagramForwardOrder } from './datagram-orders.ts';
import { DescriptorShelf } from './descriptor-shelf.ts';
import { LinuxDatagrams } from './linux-datagrams.ts';
import { LinuxForward } from './linux-forward.ts';
import {
  ACTIVE,
  FORWARD_COUNTERS,
  type ForwardOrder,
  type HostOrder,
  type HostReport,
  type HostShared,
  MAX_VMS,
  type PathOrder,
} from './orders.ts';
import { SpareCells } from './spare-cells.ts';

export interface HostEngineOptions {
  readonly libc: Libc;
  readonly workers: number;
  /** The limit of connections of the whole agent, which other threads can count in. */
  readonly limit: Limit;
  readonly log: Logger;
}

interface Served {
  readonly order: ForwardOrder;
  readonly forward: LinuxForward;
  /** Workers that may still accept, once it is closing, and whom to tell when there is none. */
  readonly waiting: Set<number>;
  closed: (() => void) | undefined;
}

export class HostEngine {
  readonly pool: WorkerPool<HostOrder, HostReport>;
  readonly datagrams: LinuxDatagrams;
  private readonly sockets: Sockets;
  private readonly libc: Libc;
  private readonly log: Logger;
  private readonly shared: HostShared;
  private readonly streams: MainStreams;
  private readonly links: MainLinks;
  private readonly vms: string[] = [];
  private readonly paths = new Map<number, PathOrder>();
  private readonly forwards = new Map<number, Served>();
  /** By the number of their path. */
  private readonly shelves = new Map<number, DescriptorShelf>();
  private lastForward = 0;
  private lastPath = 0;
  /** Dials whose answer is awaited. */
  private readonly probes = new Map<
    number,
    { readonly worker: number; readonly resolve: (errno: number) => void }
  >();
  private lastProbe = 0;

  constructor(options: HostEngineOptions) {
    const { libc, log, workers, limit } = options;
    this.libc = libc;
    this.log = log;
    this.sockets = new Sockets(libc, new Arena(libc, 4096));
    this.shared = {
      paths: new Int32Array(new SharedArrayBuffer(4 * MAX_VMS)),
      streamIds: new Int32Array(new SharedArrayBuffer(4 * MAX_VMS)),
      limit: limit.share,
    };
    this.datagrams = new LinuxDatagrams({
      libc,
      sockets: this.sockets,
      workers,
      vmIndex: (name) => this.vms.indexOf(name),
      broadcast: (order) => this.pool.broadcast(order),
      carryOn: (fd, order) => this.openChannel(fd, order),
    });
    this.streams = new MainStreams((order) => void this.pool.broadcast(order), log);
    this.pool = new WorkerPool<HostOrder, HostReport>({
      libc,
      entry: workerUrl(import.meta.url, 'host-agent/data/linux/worker-main'),
      count: workers,
      shared: this.shared,
      log,
      briefing: () => this.briefing(),
      onReport: (report, reply, index) => this.take(report, reply, index),
      onDeath: (index) => this.forget(index),
    });
    this.links = new MainLinks(libc, this.pool);
  }

  /** The way to a VM, by its name. */
  pathOf(name: string): {
    readonly carrier: SessionCarrier;
    upCarried(session: CarriedSession): void;
    up(link: {
      streams: PeerStreams;
      streamKey: Buffer;
      udpFlows: boolean;
      via: PlainAddress | SpareShelf;
    }): void;
    newShelf(tcp: boolean): SpareShelf;
    down(): void;
    nextStreamId(): number;
  } {
    const known = this.vms.indexOf(name);
    const vm = known >= 0 ? known : this.vms.push(name) - 1;
    const announce = (path: PathOrder): void => {
      this.paths.set(vm, path);
      this.pool.broadcast({ type: 'path', vm, path });
      Atomics.store(this.shared.paths, vm, path.number);
    };
    return {
      carrier: this.links,
      upCarried: ({ worker, link }) =>
        announce({ lane: 'multiplexed', number: ++this.lastPath, worker, link }),
      up: ({ streams, streamKey, udpFlows, via }) => {
        const owner = this.streams.numberOf(streams);
        const path = { lane: 'dedicated', owner, streamKey, udpFlows } as const;
        if (via instanceof DescriptorShelf) announce({ ...path, number: via.number, via: via.path });
        else if (isAddress(via)) {
          const sockaddr = encodeSockaddr(transportSockaddr(via));
          announce({ ...path, number: ++this.lastPath, via: { sockaddr } });
        }
      },
      newShelf: (tcp) => this.newShelf(vm, tcp),
      down: () => {
        Atomics.store(this.shared.paths, vm, 0);
        this.paths.delete(vm);
      },
      nextStreamId: () => (Atomics.add(this.shared.streamIds, vm, 1) + 1) >>> 0,
    };
  }

  /** Takes a TCP port, which answers nobody before `serve`. @throws BridgeError as reserveTcp does */
  listenTcp(request: { ip: string; port: number; settings: ForwardOptions }): Listener {
    const { keepalive, wait } = request.settings;
    const open = wait === undefined ? openTcpListener : openWaitingTcpListener;
    const listener = open(this.sockets, this.libc, request);
    if (keepalive !== undefined) this.sockets.keepAlive(listener.fd, keepalive);
    return listener;
  }

  /** Makes a unix socket. @throws BridgeError as reserveUnix does */
  listenUnix(path: string): Promise<Listener> {
    return openUnixListener(this.sockets, this.libc, path);
  }

  /** Serves a listener from now on, whether the link of its VM is up or not; it is the forward's. */
  serve(
    listener: Listener,
    options: {
      vm: string;
      name: string;
      destination: Destination;
      settings: ForwardOptions;
      links: LinkSource;
      limits: DataLimits;
      /** Of its connections, with cells that other threads can count in. */
      limit: Limit;
      log: Logger;
    },
  ): LinuxForward {
    const { name, destination, limits, limit, settings } = options;
    const order: ForwardOrder = {
      id: ++this.lastForward,
      name,
      vm: this.vms.indexOf(options.vm),
      listenFd: listener.fd,
      tcp: listener.tcp,
      // A message takes the whole memory that bytes lie in along.
      destination: Uint8Array.from(encodeDestination(destination)),
      settings,
      limits: [limit.share, limits.connectionsOfVm.share],
      rate: limits.newConnections.share,
      bytes: limits.pace.rate.share,
      counters: new SharedArrayBuffer(this.pool.count * FORWARD_COUNTERS * Float64Array.BYTES_PER_ELEMENT),
    };
    const forward = new LinuxForward({ order, listener, ...options, engine: this });
    this.forwards.set(order.id, { order, forward, waiting: new Set(), closed: undefined });
    this.pool.broadcast({ type: 'forward', forward: order });
    listener.open();
    return forward;
  }

  /**
   * Has a forward's port refuse clients at once. Resolves when no worker accepts on its listener any more; the
   * descriptor can be closed then.
   */
  closeForward(id: number, now: boolean): Promise<void> {
    const served = this.forwards.get(id);
    if (served === undefined) return Promise.resolve();
    this.sockets.refuse(served.order.listenFd);
    return new Promise((resolve) => {
      served.closed = resolve;
      for (const index of this.pool.broadcast({ type: 'close-forward', id, now })) served.waiting.add(index);
      this.settle(id, served);
    });
  }

  /** The port of a forward that waits for its container. */
  waitingPort(order: ForwardOrder): BackendPort {
    const { listenFd, name, id } = order;
    // The number of a descriptor that is closed may be another's.
    const isServed = (): boolean => this.forwards.has(id) && this.forwards.get(id)!.closed === undefined;
    return {
      held: true,
      listen: () => {
        if (!isServed()) return;
        this.sockets.listenAgain(listenFd, name);
        this.pool.broadcast({ type: 'listening', id });
      },
      // Workers notice by themselves: epoll says EPOLLHUP, and accept4 EINVAL.
      refuse: () => {
        if (isServed()) this.sockets.stopListening(listenFd);
      },
    };
  }

  /** Dials a container over the link of its VM, where a worker carries it. @throws BridgeError as openTunnel does */
  async probe({ vm, destination }: ForwardOrder, target: Destination): Promise<void> {
    const path = this.paths.get(vm);
    if (path?.lane !== 'multiplexed') throw dialError(target, ERRNO.ECONNABORTED, WHERE);
    const ticket = ++this.lastProbe;
    const errno = await new Promise<number>((resolve) => {
      this.probes.set(ticket, { worker: path.worker, resolve });
      const order: HostOrder = { type: 'probe', link: path.link, destination, ticket };
      if (!this.pool.post(path.worker, order)) this.probed(ticket, ERRNO.ECONNABORTED);
    });
    if (errno !== 0) throw dialError(target, errno, WHERE);
  }

  closeDescriptor(fd: number): void {
    this.libc.close(fd);
  }

  resetDescriptor(fd: number): void {
    this.sockets.resetOnClose(fd);
    this.libc.close(fd);
  }

  /** Gives a client to the worker that carries the link of its VM. @returns whether there is one */
  giveClient(forward: ForwardOrder, fd: number): boolean {
    const path = this.paths.get(forward.vm);
    if (path?.lane !== 'multiplexed') return false;
    return this.pool.give(path.worker, fd, { type: 'client', forward: forward.id, fd });
  }

  private newShelf(vm: number, tcp: boolean): DescriptorShelf {
    const { libc, sockets, pool } = this;
    const number = ++this.lastPath;
    const cells = new SpareCells(pool.count);
    const shelf = new DescriptorShelf({
      ...{ libc, sockets, cells, number, tcp },
      give: (worker, fd) => pool.give(worker, fd, { type: 'spare', vm, number, fd }),
      over: () => {
        this.shelves.delete(number);
        pool.broadcast({ type: 'spares-over', vm, number });
      },
    });
    this.shelves.set(number, shelf);
    return shelf;
  }

  /** Has the datagrams that come on a descriptor carried as a channel. @returns whether a worker carries the link */
  private openChannel(fd: number, { vm, destination, flowIdle }: DatagramForwardOrder): boolean {
    const path = this.paths.get(vm);
    if (path?.lane !== 'multiplexed') return false;
    return this.pool.give(path.worker, fd, {
      type: 'channel',
      link: path.link,
      fd,
      destination,
      details: encodeDetails({ flowIdle }),
    });
  }

  close(): Promise<void> {
    return this.pool.close({ type: 'stop' });
  }

  private probed(ticket: number, errno: number): void {
    this.probes.get(ticket)?.resolve(errno);
    this.probes.delete(ticket);
  }

  private briefing(): HostOrder[] {
    const orders: HostOrder[] = [...this.paths].map(([vm, path]) => ({ type: 'path', vm, path }));
    for (const { order, closed } of this.forwards.values())
      if (closed === undefined) orders.push({ type: 'forward', forward: order });
    return [...orders, ...this.datagrams.briefing()];
  }

  private take(report: HostReport, reply: (order: HostOrder) => void, index: number): void {
    if (this.streams.take(report, reply) || this.datagrams.take(report, reply)) return;
    if (this.links.take(report)) return;
    if (report.type === 'client') {
      const served = this.forwards.get(report.forward);
      if (served !== undefined) served.forward.takeClient(report.fd);
      else this.libc.close(report.fd);
    } else if (report.type === 'spare') {
      const shelf = this.shelves.get(report.number);
      if (shelf !== undefined) shelf.offer(report.fd);
      else this.libc.close(report.fd);
    } else if (report.type === 'spares-short') {
      this.shelves.get(report.number)?.onShort();
    } else if (report.type === 'probed') {
      this.probed(report.ticket, report.errno);
    } else if (report.type === 'dial-failed') {
      this.forwards.get(report.forward)?.forward.dialFailed(report.errno);
    } else if (report.type === 'forward-closed') {
      const served = this.forwards.get(report.id);
      served?.waiting.delete(index);
      if (served !== undefined) this.settle(report.id, served);
    }
  }

  private settle(id: number, served: Served): void {
    if (served.closed === undefined || served.waiting.size > 0) return;
    this.forwards.delete(id);
    served.closed();
  }

  /** A worker has died with all its connections. */
  private forget(index: number): void {
    this.links.workerDied(index);
    this.datagrams.workerDied(index);
    for (const { cells } of this.shelves.values()) cells.forget(index);
    for (const [ticket, { worker }] of [...this.probes])
      if (worker === index) this.probed(ticket, ERRNO.ECONNABORTED);
    for (const [id, served] of [...this.forwards]) {
      const counters = served.forward.countersOf(index);
      const lost = counters[ACTIVE]!;
      counters[ACTIVE] = 0;
      served.forward.lost(lost);
      if (lost > 0)
        this.log.warn({ forward: served.order.name, lost }, 'connections were lost with their worker');
      served.waiting.delete(index);
      this.settle(id, served);
    }
  }
}

function isAddress(via: PlainAddress | SpareShelf): via is PlainAddress {
  return 'scheme' in via;
}
