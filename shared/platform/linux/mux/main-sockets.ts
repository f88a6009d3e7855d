/** Sockets that are joined to channels of links in workers, seen from the main thread (see link/linked-socket.ts). */
import type { Socket } from 'node:net';
import { decodeDestination, encodeDestination } from '../../../destination.ts';
import { BridgeError, ERRNO } from '../../../errors.ts';
import { dialError } from '../../../link/dial-error.ts';
import type {
  LinkedSocket,
  LinkedSocketHooks,
  LinkTarget,
  OpenedChannel,
} from '../../../link/linked-socket.ts';
import { PLAIN_SOCKET } from '../../../relay/stream-end.ts';
import { decodeDetails, encodeDetails } from '../../../stream-details.ts';
import { adoptSocket } from '../adopt-socket.ts';
import type { Libc } from '../libc.ts';
import type { SocketOrder, SocketReport } from './socket-orders.ts';
import { takeSocket } from './take-socket.ts';

/** The worker of a link, as far as its sockets need it. */
export interface SocketWorker {
  post(order: SocketOrder): void;
  give(fd: number, order: SocketOrder): boolean;
}

type Handed = Pick<SocketOrder & { type: 'socket-dialled' }, 'fd' | 'tcp' | 'early' | 'counters' | 'bytes'>;

/** Those of one link. */
export class MainSockets {
  private readonly libc: Libc;
  private readonly link: number;
  private readonly worker: SocketWorker;
  private readonly live = new Map<number, (error: BridgeError | undefined, dialled: boolean) => void>();
  private last = 0;
  private ended = false;

  constructor(libc: Libc, link: number, worker: SocketWorker) {
    this.libc = libc;
    this.link = link;
    this.worker = worker;
  }

  /** Carries a client; as connectHere does. */
  connect(
    socket: Socket,
    { destination, details, where }: LinkTarget,
    hooks: LinkedSocketHooks,
  ): LinkedSocket {
    const { link } = this;
    const number = --this.last;
    this.live.set(number, (error, dialled) =>
      hooks.closed(error === undefined || dialled ? error : dialError(destination, error.errno, where)),
    );
    void this.hand(number, socket, hooks, (handed) => ({
      type: 'socket-connect',
      link,
      number,
      destination: Uint8Array.from(encodeDestination(destination)),
      details: Uint8Array.from(encodeDetails(details)),
      ...handed,
    }));
    return { stop: ({ errno }) => this.stop(number, errno) };
  }

  /** The peer has opened a channel. */
  opened({ number, destination, details }: SocketReport & { type: 'socket-wanted' }): OpenedChannel {
    const { link, worker } = this;
    const bytes = Buffer.from(details);
    const refuse = ({ errno }: BridgeError): void =>
      worker.post({ type: 'socket-failed', link, number, errno });
    return {
      refuse,
      destination: decodeDestination(Buffer.from(destination), 0).destination,
      details: decodeDetails(bytes, 0, bytes.length),
      link: (hooks) => {
        this.live.set(number, (error) => hooks.closed(error));
        return {
          stop: ({ errno }) => this.stop(number, errno),
          dialled: (socket) =>
            void this.hand(number, socket, hooks, (handed) => ({
              type: 'socket-dialled',
              link,
              number,
              ...handed,
            })),
          dialFailed: refuse,
        };
      },
    };
  }

  /** A worker says that one is over. */
  over({ number, errno, dialled }: SocketReport & { type: 'socket-over' }): void {
    const error =
      errno === 0 ? undefined : new BridgeError(dialled ? 'RESET' : 'DIAL_FAILED', 'it was reset', { errno });
    this.end(number, error, dialled);
  }

  /** The link is over, and the sockets with it. */
  linkOver(reason: BridgeError): void {
    this.ended = true;
    for (const number of [...this.live.keys()]) this.end(number, reason, true);
  }

  private end(number: number, error: BridgeError | undefined, dialled: boolean): void {
    const closed = this.live.get(number);
    this.live.delete(number);
    closed?.(error, dialled);
  }

  private stop(number: number, errno: number): void {
    const { link, worker } = this;
    if (this.live.has(number)) worker.post({ type: 'socket-stop', link, number, errno });
  }

  private async hand(
    number: number,
    socket: Socket,
    { counters: { cells: counters }, pace }: LinkedSocketHooks,
    orderOf: (handed: Handed) => SocketOrder,
  ): Promise<void> {
    const { worker } = this;
    const tcp = socket.localFamily !== undefined;
    try {
      const { fd, early } = await takeSocket(this.libc, socket);
      const order = orderOf({ fd, tcp, early: Uint8Array.from(early), counters, bytes: pace?.rate.share });
      if (!this.ended && worker.give(fd, order)) return;
      PLAIN_SOCKET.abort(adoptSocket(fd), LINK_LOST);
      this.end(number, LINK_LOST, true);
    } catch (error) {
      PLAIN_SOCKET.abort(socket, error as BridgeError);
      const { link } = this;
      // A channel of the peer still waits for it.
      if (number >= 0) worker.post({ type: 'socket-failed', link, number, errno: ERRNO.ECONNRESET });
      else this.end(number, error as BridgeError, true);
    }
  }
}

const LINK_LOST = new BridgeError('LINK_LOST', 'the link is down');
