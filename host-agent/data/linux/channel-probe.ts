import { decodeDestination } from '../../../shared/destination.ts';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { ANSWER_MS } from '../../../shared/link/open-channel.ts';
import type { Channel, ChannelHandler } from '../../../shared/mux/channel.ts';
import { type Deadline, removeDeadline, type Timed } from '../../../shared/platform/linux/deadlines.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';

/** Dials a container over a link that lives in this worker, and lets it go at once. */
export class ChannelProbe implements Timed, ChannelHandler {
  private readonly done: (errno: number) => void;
  private readonly deadline: Deadline;
  private channel: Channel | undefined;
  private over = false;

  /**
   * @param destination as encodeDestination has it
   * @param done told once what became of it: 0 when the container was reached
   */
  constructor(reactor: Reactor, link: WorkerLink, destination: Uint8Array, done: (errno: number) => void) {
    this.done = done;
    this.deadline = reactor.deadlinesOf(ANSWER_MS).add(this, reactor.now);
    try {
      this.channel = link.session.open(decodeDestination(Buffer.from(destination), 0).destination, this);
    } catch (error) {
      this.finish(error instanceof BridgeError ? error.errno : ERRNO.EIO);
    }
  }

  expired(): void {
    this.channel?.reset(ERRNO.ETIMEDOUT);
    this.finish(ERRNO.ETIMEDOUT);
  }

  dialResult(errno: number): void {
    if (errno === 0) this.channel?.reset(ERRNO.ECANCELED);
    this.finish(errno);
  }

  reset(errno: number): void {
    this.finish(errno);
  }

  closed(): void {
    this.finish(ERRNO.ECONNABORTED);
  }

  data(chunk: Buffer): void {
    this.channel?.consumed(chunk.length);
  }

  end(): void {}
  drain(): void {}
  flushed(): void {}

  private finish(errno: number): void {
    if (this.over) return;
    this.over = true;
    removeDeadline(this.deadline);
    this.done(errno);
  }
}
