/**
 * One client of a forward whose VM's link lives in this worker: opens a channel, and hands client and channel to a
 * Connection. What is true of a failed dial is in data/tunnel.ts, whose counterpart this is.
 */
import { BridgeError, errnoName } from '../../../shared/errors.ts';
import { systemError } from '../../../shared/platform/linux/errno.ts';
import { ChannelDial } from '../../../shared/platform/linux/mux/channel-dial.ts';
import { DescriptorEnd } from '../../../shared/platform/linux/mux/descriptor-end.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import { BYTES_UP } from '../../../shared/platform/linux/relay.ts';
import { PLAIN_TCP, PLAIN_UNIX } from '../../../shared/platform/linux/side.ts';
import type { ChannelEnd } from '../../../shared/relay/channel-end.ts';
import { Connection } from '../../../shared/relay/connection.ts';
import { decodeDetails } from '../../../shared/stream-details.ts';
import type { ForwardListener } from './forward-listener.ts';
import { MAX_PEER_BYTES, writePeer } from './peer-address.ts';

export class ChannelConnection {
  private readonly forward: ForwardListener;
  private readonly dial: ChannelDial;
  private readonly client: DescriptorEnd;
  private readonly connection: Connection;
  private readonly details: Buffer;
  private drawn = 0;

  /** Takes over a client that was just accepted. @param peer the address it came from; valid for this call */
  constructor(forward: ForwardListener, link: WorkerLink, fd: number, peer: Buffer) {
    this.forward = forward;
    const { fields } = forward;
    const details = Buffer.allocUnsafe(MAX_PEER_BYTES + fields.length);
    const length = writePeer(details, 0, peer);
    details.set(fields, length);
    this.details = details.subarray(0, length + fields.length);
    const { reactor, counters, tcp, pace } = forward;
    this.dial = new ChannelDial(reactor, link, (errno, end) => this.answered(errno, end));
    const drawn = (bytes: number): void => {
      counters[BYTES_UP]! += bytes;
      this.drawn += bytes;
    };
    this.client = new DescriptorEnd(reactor, fd, tcp ? PLAIN_TCP : PLAIN_UNIX, link.boxes, drawn, pace);
    const header = forward.headerFor(fd);
    if (header !== undefined) this.client.lead(header);
    this.connection = new Connection(this.client, {
      counters: forward.relayed,
      pace,
      cancelDial: () => this.dial.cancel(),
      closed: (error) => forward.released(this, error?.errno ?? 0),
    });
  }

  /** Watches the client and opens the channel. */
  serve(): void {
    const errno = this.client.watch();
    if (errno !== 0) return this.connection.dialFailed(systemError('epoll_ctl', 'a client', errno));
    try {
      this.client.feed(this.dial.open(this.forward.target, this.details));
    } catch (error) {
      const reason = error instanceof BridgeError ? error : new BridgeError('IO', 'internal error');
      this.failed(reason.errno, reason.message);
      this.connection.dialFailed(reason);
    }
  }

  get dialling(): boolean {
    return this.connection.dialling;
  }

  get moved(): number {
    return this.connection.moved + this.drawn;
  }

  /** Ends it at once, both sides by a reset. */
  stop(): void {
    this.connection.stop(STOPPED);
  }

  private answered(errno: number, end: ChannelEnd): void {
    if (errno === 0) return this.connection.dialled(end);
    this.failed(errno, `the shim could not reach it: ${errnoName(errno)}`);
    this.connection.dialFailed(new BridgeError('DIAL_FAILED', errnoName(errno), { errno }));
  }

  private failed(errno: number, why: string): void {
    const { client } = decodeDetails(this.details, 0, this.details.length);
    this.forward.dialFailed(errno, why, client);
  }
}

const STOPPED = new BridgeError('CANCELLED', 'the forward was unexposed');
