import type { Destination } from '../../../shared/destination.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { UdpSockets } from '../../../shared/platform/linux/datagrams/udp-sockets.ts';
import type { DataLimits, Forward } from '../forward.ts';
import type { LinkSource } from '../tunnel.ts';
import { DatagramBridge } from './datagram-bridge.ts';
import {
  DATAGRAM_BYTES_DOWN,
  DATAGRAM_BYTES_UP,
  DATAGRAMS_DOWN,
  DATAGRAMS_UP,
  type DatagramForwardOrder,
  type DatagramOrder,
  DROPPED,
  FLOWS,
  FLOWS_CREATED,
  FLOWS_EVICTED,
  FLOWS_EXPIRED,
  SEND_ERRORS,
} from './datagram-orders.ts';
import type { DatagramEngine } from './linux-datagrams.ts';

export interface LinuxUdpForwardOptions {
  readonly name: string;
  readonly destination: Destination;
  readonly links: LinkSource;
  readonly limits: DataLimits;
  readonly log: Logger;
  readonly order: DatagramForwardOrder;
  readonly engine: DatagramEngine;
  readonly sockets: UdpSockets;
}

/** A UDP forward that a worker carries. This thread has its socket, and the link. */
export class LinuxUdpForward implements Forward {
  /** It is being closed. */
  closing = false;
  /** Resolves when it is closed. */
  readonly gone: Promise<void>;
  private readonly options: LinuxUdpForwardOptions;
  private readonly counters: Float64Array;
  private readonly cancel = new AbortController();
  private readonly bridges = new Set<DatagramBridge>();
  private droppedHere = 0;
  private droppedBytes = 0;
  private answersDropped = 0;
  private closed = false;
  private finish: () => void = () => {};

  constructor(options: LinuxUdpForwardOptions) {
    this.options = options;
    this.counters = new Float64Array(options.order.counters);
    this.gone = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  get order(): DatagramForwardOrder {
    return this.options.order;
  }

  /** Closes the socket as soon as its worker has let go of it; running flows end. */
  close(): Promise<void> {
    const { engine, order } = this.options;
    if (this.closing) return this.gone;
    this.closing = true;
    this.cancel.abort();
    for (const bridge of this.bridges) bridge.close();
    if (!engine.broadcast({ type: 'udp-close', id: order.id }).includes(order.worker)) this.left();
    return this.gone;
  }

  /** Its flows are gone with their worker. */
  lost(): void {
    const { counters, options } = this;
    // Its table may have had one more than it counted.
    options.limits.flowsOfVm.give(Math.min(counters[FLOWS]!, options.limits.flowsOfVm.used));
    counters[FLOWS] = 0;
  }

  /** Its worker does not use the socket any more. */
  left(): void {
    if (this.closed) return;
    this.closed = true;
    this.options.engine.libc.close(this.options.order.fd);
    this.finish();
  }

  stats(): Record<string, number> {
    const { counters, options } = this;
    const kernelDrops = this.closing ? 0 : options.sockets.drops(options.order.fd);
    return {
      flows: counters[FLOWS]!,
      flows_created: counters[FLOWS_CREATED]!,
      flows_evicted: counters[FLOWS_EVICTED]!,
      flows_expired: counters[FLOWS_EXPIRED]!,
      datagrams_up: counters[DATAGRAMS_UP]! - this.droppedHere,
      datagrams_down: counters[DATAGRAMS_DOWN]!,
      bytes_up: counters[DATAGRAM_BYTES_UP]! - this.droppedBytes,
      bytes_down: counters[DATAGRAM_BYTES_DOWN]!,
      dropped: counters[DROPPED]! + this.droppedHere + this.answersDropped + kernelDrops,
      send_errors: counters[SEND_ERRORS]!,
    };
  }

  /** The worker has datagrams and no way to the VM: waits for the link as long as a client may wait. */
  asked(reply: (order: DatagramOrder) => void): void {
    const { links, order, log, name } = this.options;
    const { id } = order;
    links.whenUp(this.cancel.signal).then(
      ({ lane, link }) => {
        const direct = lane === 'dedicated' && link.has('udp-flows');
        reply({ type: 'udp-way', id, way: direct ? 'direct' : 'bridge' });
      },
      (error: Error) => {
        if (!this.closing) log.info({ forward: name }, `datagrams dropped: ${error.message}`);
        reply({ type: 'udp-way', id, way: 'none' });
      },
    );
  }

  /** Has what the worker writes to the other end of this socket carried: by another worker, or here. */
  bridge(fd: number): void {
    const { destination, links, log, name, engine, order } = this.options;
    if (!this.closing && engine.carryOn(fd, order)) return;
    const bridge: DatagramBridge = new DatagramBridge({
      fd,
      target: { destination, flowIdle: order.flowIdle },
      links,
      dropped: (datagrams, bytes) => {
        this.droppedHere += datagrams;
        this.droppedBytes += bytes;
      },
      answerDropped: () => {
        this.answersDropped++;
      },
      failed: (error) => log.info({ forward: name }, `datagrams dropped: ${error.message}`),
      closed: () => this.bridges.delete(bridge),
    });
    this.bridges.add(bridge);
    if (this.closing) bridge.close();
  }
}
