/** The UDP forwards of the Linux engine, seen from the main thread. */
import { type Destination, encodeDestination } from '../../../shared/destination.ts';
import { nodeErrno } from '../../../shared/errors.ts';
import type { ForwardOptions } from '../../../shared/forward-options.ts';
import { formatEndpoint, isUnspecified } from '../../../shared/ip.ts';
import type { Logger } from '../../../shared/logger.ts';
import { Arena } from '../../../shared/platform/linux/arena.ts';
import { UdpSockets } from '../../../shared/platform/linux/datagrams/udp-sockets.ts';
import type { Libc } from '../../../shared/platform/linux/libc.ts';
import type { Sockets } from '../../../shared/platform/linux/sockets.ts';
import { bindError } from '../../../shared/ports/bind-error.ts';
import type { DataLimits } from '../forward.ts';
import type { LinkSource } from '../tunnel.ts';
import {
  DATAGRAM_COUNTERS,
  type DatagramForwardOrder,
  type DatagramOrder,
  type DatagramReport,
} from './datagram-orders.ts';
import { LinuxUdpForward } from './linux-udp-forward.ts';

/** Room for a burst while the worker is busy. */
const BUFFER_BYTES = 4 * 1024 * 1024;

/** What the UDP forwards need of the engine. */
export interface DatagramEngine {
  readonly libc: Libc;
  readonly sockets: Sockets;
  readonly workers: number;
  vmIndex(name: string): number;
  broadcast(order: DatagramOrder): number[];
  /** Has u32 frames that come on a descriptor carried by the worker that has the link. @returns whether one has */
  carryOn(fd: number, order: DatagramForwardOrder): boolean;
}

/** A reserved socket: bound, and nothing is received before it is served. */
export interface BoundUdp {
  readonly fd: number;
  readonly ip: string;
  readonly port: number;
}

export class LinuxDatagrams {
  private readonly engine: DatagramEngine;
  private readonly sockets: UdpSockets;
  private readonly forwards = new Map<number, LinuxUdpForward>();
  private last = 0;

  constructor(engine: DatagramEngine) {
    this.engine = engine;
    this.sockets = new UdpSockets(engine.libc, new Arena(engine.libc, 4096));
  }

  /** Takes a UDP port, at 0.0.0.0 and :: on one socket. @throws BridgeError as reserveUdp does */
  bind(request: { ip: string; port: number }): BoundUdp {
    const { ip, port } = request;
    const { libc, sockets } = this.engine;
    try {
      const fd = this.sockets.bind(request, formatEndpoint(ip, port), {
        tellsLocal: isUnspecified(ip),
        bufferBytes: BUFFER_BYTES,
      });
      try {
        return { fd, ip, port: sockets.localPort(fd) };
      } catch (error) {
        libc.close(fd);
        throw error;
      }
    } catch (error) {
      const { cause } = error as { cause?: unknown };
      throw bindError(nodeErrno(cause) === undefined ? error : cause, { protocol: 'udp', ip, port });
    }
  }

  /** Serves a socket from now on; it is the forward's. Forwards are spread over the workers. */
  serve(
    bound: BoundUdp,
    options: {
      vm: string;
      name: string;
      destination: Destination;
      settings: ForwardOptions;
      links: LinkSource;
      limits: DataLimits;
      log: Logger;
    },
  ): LinuxUdpForward {
    const id = ++this.last;
    const order: DatagramForwardOrder = {
      id,
      name: options.name,
      vm: this.engine.vmIndex(options.vm),
      worker: id % this.engine.workers,
      fd: bound.fd,
      local: isUnspecified(bound.ip) ? '' : bound.ip,
      destination: Uint8Array.from(encodeDestination(options.destination)),
      flowIdle: options.settings.idleTimeout,
      maxFlows: options.limits.flowsPerForward,
      flows: options.limits.flowsOfVm.share,
      bytes: options.limits.pace.rate.share,
      counters: new SharedArrayBuffer(DATAGRAM_COUNTERS * Float64Array.BYTES_PER_ELEMENT),
    };
    const forward = new LinuxUdpForward({ order, sockets: this.sockets, ...options, engine: this.engine });
    this.forwards.set(id, forward);
    void forward.gone.then(() => this.forwards.delete(id));
    this.engine.broadcast({ type: 'udp-forward', forward: order });
    this.sockets.answer(bound.fd);
    return forward;
  }

  /** What a new worker has to know. */
  briefing(): DatagramOrder[] {
    return [...this.forwards.values()]
      .filter(({ closing }) => !closing)
      .map(({ order }) => ({ type: 'udp-forward', forward: order }));
  }

  /** @returns whether the report was for us */
  take(report: DatagramReport | { readonly type: string }, reply: (order: DatagramOrder) => void): boolean {
    const known = report as DatagramReport;
    switch (known.type) {
      case 'udp-ask':
        this.forwards.get(known.id)?.asked(reply);
        return true;
      case 'udp-bridge': {
        const forward = this.forwards.get(known.id);
        if (forward === undefined) this.engine.libc.close(known.fd);
        else forward.bridge(known.fd);
        return true;
      }
      case 'udp-closed':
        this.forwards.get(known.id)?.left();
        return true;
      default:
        return false;
    }
  }

  /** A worker has died with its flows; the sockets live, and its successor serves them. */
  workerDied(index: number): void {
    for (const forward of [...this.forwards.values()]) {
      if (forward.order.worker !== index) continue;
      forward.lost();
      if (forward.closing) forward.left();
    }
  }
}
