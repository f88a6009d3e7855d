import type { DatagramTarget } from '../../../shared/platform/linux/datagrams/send-batch.ts';
import type { Watcher } from '../../../shared/platform/linux/reactor.ts';
import { encodeFlowFrame } from '../../../shared/relay/udp-frame.ts';

const NOTHING = Buffer.alloc(0);

export interface ExitOwner {
  /** Something has happened to the socket of a flow. */
  exitReady(exit: Exit, flags: number): void;
}

/** A flow's socket, connected to the container. */
export class Exit implements Watcher, DatagramTarget {
  readonly fd: number;
  /** What the host calls the flow. */
  readonly flow: number;
  /** Its number in our table. */
  readonly id: number;
  readonly name = NOTHING;
  readonly control = NOTHING;
  segments = true;
  /** In front of each answer on the stream. */
  readonly header: Buffer;
  /** When the flow was last touched. */
  touched = Number.NEGATIVE_INFINITY;
  private readonly owner: ExitOwner;

  constructor(fd: number, flow: number, id: number, owner: ExitOwner) {
    this.fd = fd;
    this.flow = flow;
    this.id = id;
    this.owner = owner;
    this.header = encodeFlowFrame({ flow, ended: false, addresses: undefined, payload: NOTHING })![0]!;
  }

  ready(flags: number): void {
    this.owner.exitReady(this, flags);
  }
}
