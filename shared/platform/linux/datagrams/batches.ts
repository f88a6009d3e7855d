import { Arena, type Piece } from '../arena.ts';
import type { Libc } from '../libc.ts';
import { ReceiveBatch } from './receive-batch.ts';
import { SendBatch } from './send-batch.ts';
import { UdpSockets } from './udp-sockets.ts';

/** What one read of a stream of datagrams takes: a few hundred small ones, and always more than the largest frame. */
const WINDOW_BYTES = 256 * 1024;

/** The memory that a worker needs for datagrams; the forwards of a worker share it, one after the other. */
export class Batches {
  readonly sockets: UdpSockets;
  readonly receive: ReceiveBatch;
  readonly send: SendBatch;
  readonly window: Piece;

  /** @param addressed as ReceiveBatch has it */
  constructor(libc: Libc, addressed: boolean) {
    this.sockets = new UdpSockets(libc, new Arena(libc, 4096));
    this.receive = new ReceiveBatch(libc, addressed);
    this.send = new SendBatch(libc);
    this.window = new Arena(libc, WINDOW_BYTES).carve(WINDOW_BYTES);
  }
}
