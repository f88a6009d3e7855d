import type { Socket } from 'node:net';
import { BridgeError } from '../../../errors.ts';
import type {
  CarriedSession,
  CarriedSessionEvents,
  SessionSettings,
} from '../../../link/session-settings.ts';
import type { Libc } from '../libc.ts';
import type { LinkOrder, LinkReport } from './link-orders.ts';
import { MainSockets } from './main-sockets.ts';
import { takeSocket } from './take-socket.ts';

/** The workers, as far as links need them. */
export interface LinkWorkers {
  readonly alive: readonly number[];
  post(index: number, order: LinkOrder): boolean;
  give(index: number, fd: number, order: LinkOrder): boolean;
}

interface Carried {
  readonly worker: number;
  readonly events: CarriedSessionEvents;
  readonly sockets: MainSockets;
}

/** Links whose sessions live in workers, seen from the main thread. */
export class MainLinks {
  private readonly libc: Libc;
  private readonly workers: LinkWorkers;
  private readonly links = new Map<number, Carried>();
  private last = 0;

  constructor(libc: Libc, workers: LinkWorkers) {
    this.libc = libc;
    this.workers = workers;
  }

  /** Moves the stream of a link, at the beginning of a frame, into a worker. @throws BridgeError LINK_LOST, IO */
  async carry(
    stream: Socket,
    settings: SessionSettings,
    events: CarriedSessionEvents,
  ): Promise<CarriedSession> {
    const { fd, early } = await takeSocket(this.libc, stream);
    const { alive } = this.workers;
    const link = ++this.last;
    const worker = alive[link % Math.max(1, alive.length)];
    const order: LinkOrder = { type: 'link', link, fd, early: Uint8Array.from(early), settings };
    if (worker === undefined || !this.workers.give(worker, fd, order)) {
      this.libc.close(fd);
      throw new BridgeError('LINK_LOST', 'no worker is there to carry the link; it comes back soon');
    }
    const sockets = new MainSockets(this.libc, link, {
      post: (order) => post(order),
      give: (fd, order) => this.workers.give(worker, fd, order),
    });
    this.links.set(link, { worker, events, sockets });
    const post = (order: LinkOrder): void => {
      if (this.links.has(link)) this.workers.post(worker, order);
    };
    return {
      link,
      worker,
      sendControl: (payload) => post({ type: 'link-control', link, payload: Uint8Array.from(payload) }),
      sendStreamReset: (streamId, errno) => post({ type: 'link-stream-reset', link, streamId, errno }),
      startHeartbeat: (intervalMs) => post({ type: 'link-heartbeat', link, intervalMs }),
      connect: (socket, target, hooks) => sockets.connect(socket, target, hooks),
      close: (reason) => {
        post({ type: 'link-close', link });
        this.end(link, reason, []);
      },
    };
  }

  /** @returns whether the report was for us */
  take(report: LinkReport | { readonly type: string }): boolean {
    const known = report as LinkReport;
    const { events, sockets } = this.links.get(known.link) ?? {};
    switch (known.type) {
      case 'link-control':
        events?.control(bufferOf(known.payload), () => this.dealtWith(known.link, known.bytes));
        return true;
      case 'link-stream-reset':
        events?.streamReset(known.streamId, known.errno);
        this.dealtWith(known.link, known.bytes);
        return true;
      case 'link-rtt':
        events?.rtt(known.ms);
        return true;
      case 'socket-wanted':
        if (sockets !== undefined) events?.opened(sockets.opened(known));
        this.dealtWith(known.link, known.bytes);
        return true;
      case 'socket-over':
        sockets?.over(known);
        return true;
      case 'link-over':
        this.end(known.link, new BridgeError(known.code, known.message), known.lately);
        return true;
      default:
        return false;
    }
  }

  /** A worker has died, and its links with it. */
  workerDied(index: number): void {
    for (const [link, { worker }] of [...this.links])
      if (worker === index) this.end(link, new BridgeError('LINK_LOST', 'its worker thread has ended'), []);
  }

  private dealtWith(link: number, bytes: number): void {
    const carried = this.links.get(link);
    if (carried !== undefined) this.workers.post(carried.worker, { type: 'link-dealt-with', link, bytes });
  }

  private end(link: number, reason: BridgeError, lately: readonly string[]): void {
    const carried = this.links.get(link);
    if (carried === undefined) return;
    this.links.delete(link);
    carried.events.over(reason, lately);
    carried.sockets.linkOver(reason);
  }
}

/** The same bytes. */
function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
