import { EPOLLIN } from '../constants.ts';
import type { Timed } from '../deadlines.ts';
import { isExhaustion, systemError } from '../errno.ts';
import type { WorkerLog } from '../messages.ts';
import { PeerCheck } from '../peer-check.ts';
import type { Reactor, Watcher } from '../reactor.ts';
import type { BridgeListenOrder } from './orders.ts';

/** Streams taken in a row before others get their turn. */
const MAX_ACCEPTS = 32;
/** How long nobody is accepted when descriptors or memory have run out, milliseconds. */
const PAUSE_MS = 100;

/** Accepts on a listener that is the main thread's. */
export class BridgeListener implements Watcher, Timed {
  private readonly reactor: Reactor;
  private readonly fd: number;
  private readonly peers: PeerCheck;
  private readonly log: WorkerLog;
  private readonly onStream: (fd: number) => void;
  private closed = false;
  private toldOfExhaustion = false;

  /** @param onStream takes over a descriptor that nobody watches */
  constructor(reactor: Reactor, order: BridgeListenOrder, log: WorkerLog, onStream: (fd: number) => void) {
    this.reactor = reactor;
    this.fd = order.fd;
    this.peers = new PeerCheck(order.peers, order.refused, log);
    this.log = log;
    this.onStream = onStream;
    this.listen();
  }

  close(): void {
    this.closed = true;
    this.reactor.unwatch(this.fd);
  }

  expired(): void {
    if (!this.closed) this.listen();
  }

  ready(): void {
    const { reactor } = this;
    for (let accepts = 0; accepts < MAX_ACCEPTS; accepts++) {
      const fd = reactor.sockets.accept(this.fd);
      if (fd < 0) return this.refused(reactor.libc.errno());
      this.toldOfExhaustion = false;
      reactor.own(fd);
      if (this.peers.admits(reactor.sockets.peer)) this.onStream(fd);
      else reactor.close(fd);
    }
  }

  private listen(): void {
    const errno = this.reactor.watch(this.fd, EPOLLIN, this);
    if (errno !== 0) throw systemError('epoll_ctl', 'a listener of the bridge', errno);
  }

  private refused(errno: number): void {
    if (!isExhaustion(errno)) return;
    if (!this.toldOfExhaustion) this.log.warn({ errno }, 'out of descriptors or memory: accepting is paused');
    this.toldOfExhaustion = true;
    this.reactor.unwatch(this.fd);
    this.reactor.deadlinesOf(PAUSE_MS).add(this, this.reactor.now);
  }
}
