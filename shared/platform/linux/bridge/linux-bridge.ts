/** The bridge, seen from the main thread: see shared/transport/bridge.ts. */
import type { Socket } from 'node:net';
import type { Worker } from 'node:worker_threads';
import { BridgeError, ERRNO } from '../../../errors.ts';
import type { Logger } from '../../../logger.ts';
import type { VsockAddress } from '../../../transport/address.ts';
import type { Bridge } from '../../../transport/bridge.ts';
import type { PeerCids } from '../../../transport/peer-cids.ts';
import { vsockDialErrno } from '../../../transport/vsock-error.ts';
import { adoptSocket } from '../adopt-socket.ts';
import { Arena } from '../arena.ts';
import { systemError } from '../errno.ts';
import type { Libc } from '../libc.ts';
import { openVsockListener } from '../open-vsock-listener.ts';
import { refusedCell } from '../peer-check.ts';
import { encodeSockaddr, type SocketAddress, transportSockaddr } from '../sockaddr.ts';
import { Sockets } from '../sockets.ts';
import { WorkerPool } from '../worker-pool.ts';
import { workerUrl } from '../worker-url.ts';
import type { BridgeListenOrder, BridgeOrder, BridgeReport } from './orders.ts';

interface Dialling {
  done(near: number): void;
  failed(errno: number): void;
}

interface Listening {
  readonly order: BridgeListenOrder;
  readonly onStream: (stream: Socket) => void;
  /** Set once it is closing. */
  deaf: (() => void) | undefined;
}

export class LinuxBridge implements Bridge {
  private readonly libc: Libc;
  private readonly log: Logger;
  private readonly sockets: Sockets;
  private readonly pool: WorkerPool<BridgeOrder, BridgeReport>;
  private readonly dials = new Map<number, Dialling>();
  private readonly listeners = new Map<number, Listening>();
  private last = 0;

  constructor(libc: Libc, log: Logger) {
    this.libc = libc;
    this.log = log;
    this.sockets = new Sockets(libc, new Arena(libc, 4096));
    this.pool = new WorkerPool<BridgeOrder, BridgeReport>({
      libc,
      entry: workerUrl(import.meta.url, 'shared/platform/linux/bridge/worker-main'),
      count: 1,
      shared: undefined,
      log,
      briefing: () =>
        [...this.listeners.values()].flatMap(({ order, deaf }) =>
          deaf === undefined ? [{ type: 'listen', listener: order } as const] : [],
        ),
      onReport: (report) => this.take(report),
      onDeath: () => this.bereaved(),
    });
  }

  /** The thread, for tests; none while another is on its way. */
  get threads(): readonly Worker[] {
    return this.pool.threads;
  }

  dial(address: VsockAddress, signal: AbortSignal): Promise<Socket> {
    return this.dialSockaddr(transportSockaddr(address), address.url, signal, (errno) =>
      vsockDialErrno(address, errno),
    );
  }

  /** Any address of a stream, so that what a bridge does can be seen on unix sockets too. */
  dialSockaddr(
    address: SocketAddress,
    name: string,
    signal: AbortSignal,
    errorOf: (errno: number) => BridgeError,
  ): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const id = ++this.last;
      const settle = (): void => {
        this.dials.delete(id);
        signal.removeEventListener('abort', cancel);
      };
      const cancel = (): void => {
        settle();
        this.pool.broadcast({ type: 'cancel', id });
        reject(new BridgeError('CANCELLED', `dialling ${name} was cancelled`));
      };
      if (signal.aborted) return cancel();
      signal.addEventListener('abort', cancel, { once: true });
      this.dials.set(id, {
        done: (near) => {
          settle();
          resolve(adoptSocket(near));
        },
        failed: (errno) => {
          settle();
          reject(errorOf(errno));
        },
      });
      const asked = this.pool.broadcast({ type: 'dial', id, sockaddr: encodeSockaddr(address) });
      if (asked.length === 0) this.dials.get(id)!.failed(ERRNO.ECONNABORTED);
    });
  }

  listen(
    address: VsockAddress,
    peers: PeerCids,
    onStream: (stream: Socket) => void,
  ): { close(): Promise<void> } {
    return this.serve(openVsockListener(this.sockets, address).fd, peers, onStream);
  }

  /** Accepts on a listener, which is closed here. */
  serve(fd: number, peers: PeerCids, onStream: (stream: Socket) => void): { close(): Promise<void> } {
    const id = ++this.last;
    const order = { id, fd, peers, refused: refusedCell() };
    this.listeners.set(id, { order, onStream, deaf: undefined });
    this.pool.broadcast({ type: 'listen', listener: order });
    return { close: () => this.unlisten(id) };
  }

  adopt(fd: number): Socket {
    return this.standIn(fd, (near) => ({ type: 'adopt', stream: fd, near }));
  }

  device(fd: number): Socket {
    return this.standIn(fd, (near) => ({ type: 'device', device: fd, near }));
  }

  /** A socket that stands for a descriptor, which is the worker's from now on. */
  private standIn(fd: number, order: (near: number) => BridgeOrder): Socket {
    const pair = this.sockets.pair();
    if (pair === undefined) throw systemError('socketpair', 'a bridge', this.libc.errno());
    const [near, far] = pair;
    if (this.pool.broadcast(order(near)).length === 0) {
      for (const each of [fd, near]) this.libc.close(each); // no worker just now: the stream is lost with it
    }
    return adoptSocket(far);
  }

  async close(): Promise<void> {
    await this.pool.close({ type: 'stop' });
    this.bereaved();
    for (const id of [...this.listeners.keys()]) void this.unlisten(id);
  }

  private take(report: BridgeReport): void {
    switch (report.type) {
      case 'dialled': {
        const dial = this.dials.get(report.id);
        if (dial === undefined) this.libc.close(report.near);
        else dial.done(report.near);
        return;
      }
      case 'dial-failed':
        return this.dials.get(report.id)?.failed(report.errno);
      case 'accepted': {
        const listening = this.listeners.get(report.id);
        if (listening === undefined || listening.deaf !== undefined) this.libc.close(report.near);
        else listening.onStream(adoptSocket(report.near));
        return;
      }
      case 'deaf':
        return this.listeners.get(report.id)?.deaf?.();
      case 'log':
        this.log[report.level](report.fields, report.text);
        return;
    }
  }

  private unlisten(id: number): Promise<void> {
    const listening = this.listeners.get(id);
    if (listening === undefined || listening.deaf !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      listening.deaf = () => {
        this.listeners.delete(id);
        this.libc.close(listening.order.fd);
        resolve();
      };
      if (this.pool.broadcast({ type: 'unlisten', id }).length === 0) listening.deaf();
    });
  }

  /** The worker has died, and every stream with it: their sockets see a reset. */
  private bereaved(): void {
    for (const dial of [...this.dials.values()]) dial.failed(ERRNO.ECONNABORTED);
    for (const { deaf } of [...this.listeners.values()]) deaf?.();
  }
}
