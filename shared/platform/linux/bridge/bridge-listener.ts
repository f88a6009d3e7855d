import { AcceptLoop, type AcceptOwner } from '../accept-loop.ts';
import type { WorkerLog } from '../messages.ts';
import { PeerCheck } from '../peer-check.ts';
import type { Reactor } from '../reactor.ts';
import type { BridgeListenOrder } from './orders.ts';

/** The bridge has one worker, which takes turns with nobody. */
const ALONE = { counts: new Int32Array(1), first: 0, stride: 1, workers: 1, index: 0 };

/** Accepts on a listener that is the main thread's. */
export class BridgeListener implements AcceptOwner {
  private readonly reactor: Reactor;
  private readonly peers: PeerCheck;
  private readonly onStream: (fd: number) => void;
  private readonly clients: AcceptLoop;

  /** @param onStream takes over a descriptor that nobody watches */
  constructor(
    reactor: Reactor,
    order: BridgeListenOrder,
    log: Pick<WorkerLog, 'debug' | 'warn'>,
    onStream: (fd: number) => void,
  ) {
    this.reactor = reactor;
    this.peers = new PeerCheck(order.peers, order.refused, log);
    this.onStream = onStream;
    const name = 'a listener of the bridge';
    this.clients = new AcceptLoop({ reactor, log, fields: {}, name, load: ALONE, owner: this });
    this.clients.start(order.fd);
  }

  close(): void {
    this.clients.stop();
  }

  accepted(fd: number): void {
    if (this.peers.admits(this.reactor.sockets.peer)) this.onStream(fd);
    else this.reactor.close(fd);
  }

  takesTurns(): boolean {
    return false;
  }

  paused(): void {}
}
