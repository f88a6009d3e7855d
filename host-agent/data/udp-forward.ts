/**
 * One published UDP port. Each client (and local address it wrote to) is a flow; answers leave from that
 * address. Nothing here blocks: what the link does not take is dropped and counted.
 */
import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import type { ForwardOptions } from '../../shared/forward-options.ts';
import { ipToBytes } from '../../shared/ip.ts';
import { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import type { UdpLocal, UdpReservation } from '../../shared/ports/reservation.ts';
import { type Flow, FlowTable, flowKey, sweepMs } from '../../shared/relay/udp-flows.ts';
import type { UdpAddress } from '../../shared/relay/udp-frame.ts';
import type { DataLimits, Forward } from './forward.ts';
import type { LinkSource } from './tunnel.ts';
import { type FlowAddresses, openUdpPath, type UdpPath } from './udp-path.ts';

/** Datagrams held while the path to the shim is being opened; the rest is dropped. */
const MAX_HELD = 64;

export interface UdpForwardOptions {
  readonly name: string;
  readonly destination: Destination;
  readonly settings: ForwardOptions;
  readonly reservation: UdpReservation;
  readonly links: LinkSource;
  readonly limits: DataLimits;
  readonly log: Logger;
}

interface Client {
  readonly local: UdpLocal;
  readonly address: string;
  readonly port: number;
  readonly addresses: FlowAddresses;
}

export class UdpForward implements Forward {
  private readonly options: UdpForwardOptions;
  private readonly flows: FlowTable<Client>;
  private readonly limit: Limit;
  private readonly cancel = new AbortController();
  private readonly sweeper: NodeJS.Timeout;
  private path: UdpPath | undefined;
  private opening = false;
  private held: Array<{ flow: number; client: Client; payload: Buffer }> = [];
  private datagramsUp = 0;
  private datagramsDown = 0;
  private bytesUp = 0;
  private bytesDown = 0;
  private dropped = 0;

  /** Begins to receive. */
  constructor(options: UdpForwardOptions) {
    this.options = options;
    const { limits, log, name, reservation, settings } = options;
    this.flows = new FlowTable({
      max: limits.flowsPerForward,
      shared: limits.flowsOfVm,
      idleMs: settings.idleTimeout === undefined ? undefined : settings.idleTimeout * 1000,
      now: () => performance.now(),
    });
    this.limit = new Limit(`UDP flows of ${name}`, limits.flowsPerForward, log);
    this.sweeper = setInterval(() => {
      for (const flow of this.flows.sweep()) this.end(flow);
    }, sweepMs(this.flows.idleMs));
    this.sweeper.unref();
    reservation.start(
      (local, payload, peer) => this.receive(local, payload, peer),
      (local) => this.localGone(local),
    );
  }

  async close(): Promise<void> {
    clearInterval(this.sweeper);
    this.cancel.abort();
    this.flows.clear();
    this.held = [];
    this.path?.close();
    await this.options.reservation.close();
  }

  stats(): Record<string, number> {
    const { size, created, evicted, expired } = this.flows.stats;
    return {
      flows: size,
      flows_created: created,
      flows_evicted: evicted,
      flows_expired: expired,
      datagrams_up: this.datagramsUp,
      datagrams_down: this.datagramsDown,
      bytes_up: this.bytesUp,
      bytes_down: this.bytesDown,
      dropped: this.dropped,
      send_errors: this.options.reservation.locals.reduce((sum, local) => sum + local.sendErrors, 0),
    };
  }

  private receive(local: UdpLocal, payload: Buffer, peer: { address: string; port: number }): void {
    const key = flowKey(local.address, peer.address, peer.port);
    const { flow, evicted } = this.flows.touchByKey(key, () => ({
      local,
      addresses: { client: toAddress(peer), local: toAddress({ address: local.address, port: 0 }) },
      ...peer,
    }));
    if (evicted !== undefined) {
      if (this.flows.stats.size >= this.limit.max) this.limit.refuse();
      this.end(evicted);
    }
    if (this.path !== undefined) this.send(this.path, flow.id, flow.value, payload);
    else this.hold(flow.id, flow.value, payload);
  }

  private send(path: UdpPath, flow: number, client: Client, payload: Buffer): void {
    const inTime = this.options.limits.pace.rate.admit(payload.length);
    if (inTime && path.send(flow, client.addresses, payload)) {
      this.datagramsUp++;
      this.bytesUp += payload.length;
    } else {
      this.dropped++;
    }
  }

  private hold(flow: number, client: Client, payload: Buffer): void {
    if (this.held.length >= MAX_HELD) this.dropped++;
    else this.held.push({ flow, client, payload });
    if (!this.opening) void this.openPath();
  }

  private async openPath(): Promise<void> {
    const { destination, links, log, name, settings } = this.options;
    const { signal } = this.cancel;
    const target = { destination, flowIdle: settings.idleTimeout };
    this.opening = true;
    let path: UdpPath | undefined;
    let over = false;
    try {
      const active = await links.whenUp(signal);
      path = await openUdpPath(active, target, signal, {
        answer: (flow, payload) => this.answer(flow, payload),
        flowEnded: (flow) => void this.flows.delete(flow),
        closed: () => {
          over = true;
          if (this.path === path) this.path = undefined;
        },
      });
      if (signal.aborted) return path.close();
      if (over) throw new BridgeError('LINK_LOST', 'the stream to the VM ended at once');
      this.path = path;
      for (const { flow, client, payload } of this.held.splice(0)) this.send(path, flow, client, payload);
    } catch (error) {
      this.dropped += this.held.splice(0).length;
      if (!signal.aborted) log.info({ forward: name }, `datagrams dropped: ${(error as Error).message}`);
    } finally {
      this.opening = false;
    }
  }

  private answer(id: number, payload: Buffer): void {
    const flow = this.flows.touchById(id);
    if (flow === undefined || !this.options.limits.pace.rate.admit(payload.length)) {
      this.dropped++;
      return;
    }
    this.datagramsDown++;
    this.bytesDown += payload.length;
    flow.value.local.send(payload, flow.value.port, flow.value.address);
  }

  private end(flow: Flow<Client>): void {
    this.path?.endFlow(flow.id);
  }

  /** The host has lost a local address: nobody can be answered from it any more. */
  private localGone(local: UdpLocal): void {
    for (const flow of this.flows.list()) {
      if (flow.value.local !== local) continue;
      this.flows.delete(flow.id);
      this.end(flow);
    }
  }
}

function toAddress({ address, port }: { address: string; port: number }): UdpAddress {
  const [ip, zone = ''] = address.split('%');
  return { ip: ipToBytes(ip!), port, zone };
}
