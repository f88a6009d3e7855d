import type { Destination } from '../../../destination.ts';
import { ERRNO } from '../../../errors.ts';
import { ANSWER_MS } from '../../../link/open-channel.ts';
import type { Channel } from '../../../mux/channel.ts';
import { ChannelEnd } from '../../../relay/channel-end.ts';
import { type Deadline, removeDeadline, type Timed } from '../deadlines.ts';
import type { Reactor } from '../reactor.ts';
import type { WorkerLink } from './worker-links.ts';

/** A channel that is opened over a link of this worker, until the other side has answered; as link/open-channel.ts. */
export class ChannelDial implements Timed {
  private readonly reactor: Reactor;
  private readonly link: WorkerLink;
  private readonly answered: (errno: number, end: ChannelEnd) => void;
  private readonly end = new ChannelEnd(true);
  private channel: Channel | undefined;
  private deadline: Deadline | undefined;

  /** @param answered told once, unless it is cancelled: 0 and the end, or the errno of the failed dial */
  constructor(reactor: Reactor, link: WorkerLink, answered: (errno: number, end: ChannelEnd) => void) {
    this.reactor = reactor;
    this.link = link;
    this.answered = answered;
  }

  /**
   * Asks for the destination.
   * @param details as encodeDetails has them
   * @throws BridgeError LIMIT_REACHED or LINK_LOST; nothing is answered then
   */
  open(destination: Destination, details: Uint8Array): Channel {
    const { end, link, reactor } = this;
    const handler = {
      ...end.events(),
      dialResult: (errno: number) => this.settle(errno),
      reset: (errno: number) => {
        this.settle(errno || ERRNO.ECONNRESET); // nothing happens when it was answered
        end.aborted(errno);
      },
    };
    const channel = link.session.open(destination, handler, details);
    this.channel = channel;
    end.bind(channel);
    this.deadline = reactor.deadlinesOf(ANSWER_MS).add(this, reactor.now);
    return channel;
  }

  /** It is no longer wanted. Nothing happens when it was answered. */
  cancel(): void {
    if (!this.clear()) return;
    this.channel?.reset(ERRNO.ECANCELED);
  }

  expired(): void {
    this.channel?.reset(ERRNO.ETIMEDOUT);
    this.settle(ERRNO.ETIMEDOUT);
  }

  private settle(errno: number): void {
    if (this.clear()) this.answered(errno, this.end);
  }

  /** @returns whether it was not answered before */
  private clear(): boolean {
    const { deadline } = this;
    if (deadline === undefined) return false;
    removeDeadline(deadline);
    this.deadline = undefined;
    return true;
  }
}
