import type { Socket } from 'node:net';
import type { Destination } from '../../../shared/destination.ts';
import type { BridgeError } from '../../../shared/errors.ts';
import type { ForwardOptions } from '../../../shared/forward-options.ts';
import { giveAll, type Limit } from '../../../shared/limit.ts';
import type { Logger } from '../../../shared/logger.ts';
import { adoptSocket } from '../../../shared/platform/linux/adopt-socket.ts';
import type { Listener } from '../../../shared/platform/linux/open-listener.ts';
import { BYTES_DOWN, BYTES_UP } from '../../../shared/platform/linux/relay.ts';
import type { StreamReservation } from '../../../shared/ports/reservation.ts';
import { BackendWatch } from '../backend-watch.ts';
import type { DataLimits, Forward } from '../forward.ts';
import { StreamForward } from '../stream-forward.ts';
import { type LinkSource, probeTunnel } from '../tunnel.ts';
import type { HostEngine } from './host-engine.ts';
import {
  ACCEPTED,
  DIAL_FAILURES,
  FORWARD_COUNTERS,
  type ForwardOrder,
  IDLE_TIMEOUTS,
  PAUSES,
  REFUSED,
  RESETS,
} from './orders.ts';
import { WaitingClients } from './waiting-clients.ts';

export interface LinuxForwardOptions {
  readonly name: string;
  readonly destination: Destination;
  readonly settings: ForwardOptions;
  readonly links: LinkSource;
  readonly limits: DataLimits;
  readonly log: Logger;
  readonly limit: Limit;
  readonly engine: HostEngine;
  readonly order: ForwardOrder;
  readonly listener: Listener;
  /** Told when `state` is another one. */
  readonly onState?: (() => void) | undefined;
}

/**
 * A forward whose clients are accepted and relayed in workers. Clients that come while the link is down are handed to
 * this thread, where they wait. The worker that carries the link gets them back; on a link that none carries they are
 * served here, as on the portable engine.
 */
export class LinuxForward implements Forward {
  private readonly options: LinuxForwardOptions;
  private readonly portable: StreamForward;
  private readonly waiting: WaitingClients;
  /** Clients that waited in vain. */
  private inVain = 0;
  private closing: Promise<void> | undefined;
  private readonly watch: BackendWatch | undefined;
  private onClient: ((socket: Socket) => void) | undefined;

  constructor(options: LinuxForwardOptions) {
    this.options = options;
    const reservation: StreamReservation = {
      port: options.listener.port,
      start: (onClient) => {
        this.onClient = onClient;
      },
      close: async () => {},
    };
    const dialFailed = (errno: number) => this.dialFailed(errno);
    this.portable = new StreamForward({ reservation, dialFailed, ...options });
    const { links, limits, limit } = options;
    this.waiting = new WaitingClients({
      whenUp: (signal) => links.whenUp(signal),
      limits: [limit, limits.connectionsOfVm, limits.connections],
      take: (fd) => this.passOn(fd),
      reset: (fd, reason) => this.turnAway(fd, reason),
    });
    if (options.settings.wait !== undefined) this.watch = this.watchContainer();
  }

  get state(): string | undefined {
    return this.watch?.state;
  }

  /** A client could not be served. */
  dialFailed(errno: number): void {
    this.watch?.dialFailed(errno);
  }

  /** Takes a client that a worker accepted and could not serve; its descriptor is ours now. */
  takeClient(fd: number): void {
    void this.waiting.add(fd);
  }

  private watchContainer(): BackendWatch {
    const { name, destination, links, log, engine, order, onState } = this.options;
    return new BackendWatch({
      name,
      links,
      log,
      onState,
      port: engine.waitingPort(order),
      probe: (active, signal) =>
        active.link.carried === undefined
          ? probeTunnel(active, { destination, signal })
          : engine.probe(order, destination),
    });
  }

  private passOn(fd: number): void {
    const { engine, order } = this.options;
    if (this.closing !== undefined || !engine.giveClient(order, fd)) this.serveHere(fd);
  }

  private turnAway(fd: number, { code, message, errno }: BridgeError): void {
    const { engine, log, name } = this.options;
    engine.resetDescriptor(fd);
    this.inVain++;
    this.dialFailed(errno);
    if (code !== 'CANCELLED') log.info({ forward: name, code }, `a client was reset: ${message}`);
  }

  private serveHere(fd: number): void {
    const socket = adoptSocket(fd);
    socket.setNoDelay(true);
    this.onClient?.(socket);
  }

  close({ now }: { now: boolean }): Promise<void> {
    const { listener, engine, order } = this.options;
    this.closing ??= (async () => {
      this.watch?.close();
      listener.leave();
      await engine.closeForward(order.id, now);
      this.waiting.close();
      engine.closeDescriptor(listener.fd);
      await this.portable.close({ now });
    })();
    return this.closing;
  }

  stats(): Record<string, number> {
    const here = this.portable.stats();
    return {
      connections: here.connections! + this.sum(ACCEPTED) + this.inVain,
      active: this.options.limit.used,
      bytes_up: here.bytes_up! + this.sum(BYTES_UP),
      bytes_down: here.bytes_down! + this.sum(BYTES_DOWN),
      dial_failures: here.dial_failures! + this.sum(DIAL_FAILURES) + this.inVain,
      resets: here.resets! + this.sum(RESETS) + this.inVain,
      refused_by_limit: here.refused_by_limit! + this.sum(REFUSED),
      accept_pauses: this.sum(PAUSES),
      ...(here.idle_timeouts !== undefined && {
        idle_timeouts: here.idle_timeouts + this.sum(IDLE_TIMEOUTS),
      }),
    };
  }

  /** What one worker counts. */
  countersOf(index: number): Float64Array {
    const start = index * FORWARD_COUNTERS * Float64Array.BYTES_PER_ELEMENT;
    return new Float64Array(this.options.order.counters, start, FORWARD_COUNTERS);
  }

  /** Connections are gone with their worker. */
  lost(connections: number): void {
    const { limit, limits } = this.options;
    giveAll([limit, limits.connectionsOfVm, limits.connections], connections);
  }

  private sum(counter: number): number {
    let total = 0;
    for (let index = 0; index < this.options.engine.pool.count; index++)
      total += this.countersOf(index)[counter]!;
    return total;
  }
}
