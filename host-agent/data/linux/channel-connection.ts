/**
 * One client of a forward whose VM's link lives in this worker: opens a channel, and hands client and channel to a
 * Connection. What is true of a failed dial is in data/tunnel.ts, whose counterpart this is.
 */
import { BridgeError, ERRNO, errnoName } from '../../../shared/errors.ts';
import { ANSWER_MS } from '../../../shared/link/open-channel.ts';
import type { Channel } from '../../../shared/mux/channel.ts';
import { type Deadline, removeDeadline, type Timed } from '../../../shared/platform/linux/deadlines.ts';
import { systemError } from '../../../shared/platform/linux/errno.ts';
import { DescriptorEnd } from '../../../shared/platform/linux/mux/descriptor-end.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import { BYTES_UP } from '../../../shared/platform/linux/relay.ts';
import { PLAIN_TCP, PLAIN_UNIX } from '../../../shared/platform/linux/side.ts';
import { ChannelEnd } from '../../../shared/relay/channel-end.ts';
import { Connection } from '../../../shared/relay/connection.ts';
import type { ForwardListener } from './forward-listener.ts';
import { MAX_PEER_BYTES, writePeer } from './peer-address.ts';

export class ChannelConnection implements Timed {
  private readonly forward: ForwardListener;
  private readonly link: WorkerLink;
  private readonly client: DescriptorEnd;
  private readonly connection: Connection;
  private readonly details: Buffer;
  private channel: Channel | undefined;
  private deadline: Deadline | undefined;
  private drawn = 0;

  /** Takes over a client that was just accepted. @param peer the address it came from; valid for this call */
  constructor(forward: ForwardListener, link: WorkerLink, fd: number, peer: Buffer) {
    this.forward = forward;
    this.link = link;
    const { fields } = forward;
    const details = Buffer.allocUnsafe(MAX_PEER_BYTES + fields.length);
    const length = writePeer(details, 0, peer);
    details.set(fields, length);
    this.details = details.subarray(0, length + fields.length);
    const { reactor, counters, tcp, pace } = forward;
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
      cancelDial: () => this.cancel(ERRNO.ECANCELED),
      closed: (error) => forward.released(this, error?.errno ?? 0),
    });
  }

  /** Watches the client and opens the channel. */
  serve(): void {
    const errno = this.client.watch();
    if (errno !== 0) return this.connection.dialFailed(systemError('epoll_ctl', 'a client', errno));
    const { reactor } = this.forward;
    const end = new ChannelEnd(true);
    this.deadline = reactor.deadlinesOf(ANSWER_MS).add(this, reactor.now);
    try {
      const handler = {
        ...end.events(),
        dialResult: (result: number) => this.answered(result, end),
        reset: (result: number) => {
          if (this.deadline !== undefined) this.fail(result);
          end.aborted(result);
        },
      };
      const channel = this.link.session.open(this.forward.target, handler, this.details);
      this.channel = channel;
      end.bind(channel);
      this.client.feed(channel);
    } catch (error) {
      this.clearDeadline();
      const reason = error instanceof BridgeError ? error : new BridgeError('IO', 'internal error');
      this.forward.dialFailed(reason.message, reason.errno);
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

  expired(): void {
    this.deadline = undefined;
    this.channel?.reset(ERRNO.ETIMEDOUT);
    this.fail(ERRNO.ETIMEDOUT);
  }

  private answered(errno: number, end: ChannelEnd): void {
    if (this.deadline === undefined) return;
    if (errno !== 0) return this.fail(errno);
    this.clearDeadline();
    this.connection.dialled(end);
  }

  private fail(errno: number): void {
    this.clearDeadline();
    this.forward.dialFailed(`the shim could not reach it: ${errnoName(errno)}`, errno);
    this.connection.dialFailed(new BridgeError('DIAL_FAILED', errnoName(errno), { errno }));
  }

  private cancel(errno: number): void {
    if (this.deadline === undefined) return;
    this.clearDeadline();
    this.channel?.reset(errno);
  }

  private clearDeadline(): void {
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
  }
}

const STOPPED = new BridgeError('CANCELLED', 'the forward was unexposed');
