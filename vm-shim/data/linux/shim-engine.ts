/** The Linux engine of the VM shim, seen from the main thread: it listens, and serves what workers leave to it. */
import type { Socket } from 'node:net';
import type { Limit } from '../../../shared/limit.ts';
import type { PeerStreams } from '../../../shared/link/peer-streams.ts';
import { MAX_SPARES } from '../../../shared/link/spare-wish.ts';
import type { Logger } from '../../../shared/logger.ts';
import { adoptSocket } from '../../../shared/platform/linux/adopt-socket.ts';
import { Arena } from '../../../shared/platform/linux/arena.ts';
import type { Libc } from '../../../shared/platform/linux/libc.ts';
import { MainStreams } from '../../../shared/platform/linux/main-streams.ts';
import { MainLinks } from '../../../shared/platform/linux/mux/main-links.ts';
import {
  type Listener,
  openTcpListener,
  openUnixListener,
} from '../../../shared/platform/linux/open-listener.ts';
import { openVsockListener } from '../../../shared/platform/linux/open-vsock-listener.ts';
import { refusedCell } from '../../../shared/platform/linux/peer-check.ts';
import { encodeSockaddr, familyOf, transportSockaddr } from '../../../shared/platform/linux/sockaddr.ts';
import { Sockets } from '../../../shared/platform/linux/sockets.ts';
import { WorkerPool } from '../../../shared/platform/linux/worker-pool.ts';
import { workerUrl } from '../../../shared/platform/linux/worker-url.ts';
import { encodeSpareHead } from '../../../shared/spare-head.ts';
import type { PlainAddress } from '../../../shared/transport/address.ts';
import type { Bridge } from '../../../shared/transport/bridge.ts';
import { type ListenOptions, listening } from '../../../shared/transport/listen.ts';
import { HOST_ONLY } from '../../../shared/transport/peer-cids.ts';
import type { StreamListener } from '../../../shared/transport/transport.ts';
import type { SpareSource } from '../spare-streams.ts';
import type { ShimOrder, ShimReport, ShimShared, SparesOrder } from './orders.ts';

export interface ShimEngineOptions {
  readonly libc: Libc;
  readonly workers: number;
  /** The limit of connections of the whole shim, which other threads can count in. */
  readonly limit: Limit;
  /** As AllowedDestinations has it. */
  readonly allowed: readonly string[] | undefined;
  /** Gets streams that are links or carry datagrams in u16 frames, paused. */
  readonly onStream: (stream: Socket) => void;
  readonly log: Logger;
}

export class ShimEngine {
  readonly pool: WorkerPool<ShimOrder, ShimReport>;
  /** Carries sessions of the multiplexed lane. */
  readonly links: MainLinks;
  private readonly options: ShimEngineOptions;
  private readonly shared: ShimShared;
  private readonly streams: MainStreams;
  private readonly sockets: Sockets;
  private readonly keys = new Map<string, { owner: number; udpFlows: boolean }>();
  private readonly spares = new Map<string, SparesOrder>();
  private listener: Listener | undefined;
  private listenOrder: ShimOrder | undefined;
  private bridge: Bridge | undefined;
  private readonly waiting = new Set<number>();
  private deaf: (() => void) | undefined;

  constructor(options: ShimEngineOptions) {
    this.options = options;
    const { allowed, libc, log, workers, limit } = options;
    this.sockets = new Sockets(libc, new Arena(libc, 4096));
    this.shared = {
      limit: limit.share,
      allowed,
      active: new Int32Array(new SharedArrayBuffer(workers * Int32Array.BYTES_PER_ELEMENT)),
    };
    this.streams = new MainStreams((order) => void this.pool.broadcast(order), log);
    this.pool = new WorkerPool<ShimOrder, ShimReport>({
      libc,
      entry: workerUrl(import.meta.url, 'vm-shim/data/linux/worker-main'),
      count: workers,
      shared: this.shared,
      log,
      briefing: () => this.briefing(),
      onReport: (report, reply, index) => this.take(report, reply, index),
      onDeath: (index) => this.forget(index),
    });
    this.links = new MainLinks(libc, this.pool);
  }

  /** The counterpart of shared/transport/listen.ts, with the same errors; streams go to the workers. */
  listen(address: PlainAddress, { peers = HOST_ONLY, bridge }: ListenOptions): Promise<StreamListener> {
    return listening(address, 'host', async () => {
      const listener = await this.openListener(address);
      this.listener = listener;
      // Links are the main thread's, which cannot use every descriptor itself.
      this.bridge = address.scheme === 'vsock' ? bridge : undefined;
      const family = familyOf(encodeSockaddr(transportSockaddr(address)));
      this.listenOrder = {
        type: 'listen',
        listener: { fd: listener.fd, family, peers, refused: refusedCell() },
      };
      this.pool.broadcast(this.listenOrder);
      listener.open();
      return { port: listener.port, close: () => this.unlisten(listener) };
    });
  }

  /** Streams with this key are of this instance from now on. Said before the host hears that we have the key. */
  addKey(streamKey: Buffer, streams: PeerStreams, udpFlows: boolean): void {
    const key = streamKey.toString('hex');
    const owner = this.streams.numberOf(streams);
    this.keys.set(key, { owner, udpFlows });
    this.pool.broadcast({ type: 'key', key, owner, udpFlows });
  }

  removeKey(streamKey: Buffer): void {
    const key = streamKey.toString('hex');
    if (this.keys.delete(key)) this.pool.broadcast({ type: 'key-gone', key });
  }

  /** Has the workers keep spare streams of a link open. @param bridge for what the main thread cannot use itself */
  openSpares(streamKey: Buffer, address: PlainAddress, bridge: Bridge | undefined): SpareSource {
    this.bridge = address.scheme === 'vsock' ? bridge : undefined;
    const key = streamKey.toString('hex');
    const head = encodeSpareHead(streamKey);
    const sockaddr = encodeSockaddr(transportSockaddr(address));
    return {
      want: (wanted) => {
        const spares = { key, head, sockaddr, count: Math.min(wanted, MAX_SPARES) };
        this.spares.set(key, spares);
        this.pool.broadcast({ type: 'spares', spares });
      },
      end: () => {
        if (this.spares.delete(key)) this.pool.broadcast({ type: 'spares-over', key });
      },
    };
  }

  close(): Promise<void> {
    return this.pool.close({ type: 'stop' });
  }

  private async openListener(address: PlainAddress): Promise<Listener> {
    const { sockets } = this;
    const { libc } = this.options;
    if (address.scheme === 'unix') return openUnixListener(sockets, libc, address.path);
    if (address.scheme === 'vsock') return openVsockListener(sockets, address);
    return openTcpListener(sockets, libc, { ip: address.host, port: address.port });
  }

  private unlisten(listener: Listener): Promise<void> {
    if (this.listener !== listener) return Promise.resolve();
    this.listener = undefined;
    listener.leave();
    return new Promise((resolve) => {
      this.deaf = () => {
        this.deaf = undefined;
        this.options.libc.close(listener.fd);
        resolve();
      };
      for (const index of this.pool.broadcast({ type: 'unlisten' })) this.waiting.add(index);
      this.settle();
    });
  }

  private settle(): void {
    if (this.waiting.size === 0) this.deaf?.();
  }

  private briefing(): ShimOrder[] {
    const orders: ShimOrder[] = [...this.keys].map(([key, known]) => ({ type: 'key', key, ...known }));
    for (const spares of this.spares.values()) orders.push({ type: 'spares', spares });
    if (this.listener !== undefined && this.listenOrder !== undefined) orders.push(this.listenOrder);
    return orders;
  }

  private take(report: ShimReport, reply: (order: ShimOrder) => void, index: number): void {
    if (this.streams.take(report, reply) || this.links.take(report)) return;
    if (report.type === 'stream') this.adopt(report.fd, report.bytes);
    else if (report.type === 'deaf') {
      this.waiting.delete(index);
      this.settle();
    }
  }

  private adopt(fd: number, bytes: Uint8Array): void {
    const stream = this.bridge?.adopt(fd) ?? adoptSocket(fd);
    stream.setNoDelay(true);
    stream.unshift(Buffer.from(bytes));
    this.options.onStream(stream);
  }

  /** A worker has died with all its connections. */
  private forget(index: number): void {
    this.links.workerDied(index);
    const lost = this.shared.active[index]!;
    this.shared.active[index] = 0;
    this.options.limit.give(lost);
    if (lost > 0) this.options.log.warn({ lost }, 'connections were lost with their worker');
    this.waiting.delete(index);
    this.settle();
  }
}
