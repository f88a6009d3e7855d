import type { Reactor } from '../reactor.ts';
import { Relay, type RelayOwner } from '../relay.ts';
import { BRIDGED_UNIX, type SideKind, STREAM_MASK } from '../side.ts';

/** A stream and the end of a pair of unix sockets that stands for it, joined until both are closed. */
export class BridgedStream implements RelayOwner {
  readonly counters = new Float64Array(2);
  private readonly reactor: Reactor;
  private readonly fd: number;
  private readonly relay: Relay;
  private readonly over: () => void;

  /**
   * @param fd the stream's, not watched; it is closed here
   * @param over called once, when both are closed
   */
  constructor(reactor: Reactor, fd: number, kind: SideKind, over: () => void) {
    this.reactor = reactor;
    this.fd = fd;
    this.over = over;
    this.relay = new Relay(reactor, fd, kind, this);
  }

  /** @param near the end of the pair, not watched; it is closed here too */
  join(near: number): void {
    const { reactor, fd, relay } = this;
    const errno =
      reactor.watch(near, STREAM_MASK, NOBODY) || reactor.watch(fd, STREAM_MASK, relay.initiating);
    if (errno === 0) return relay.dialled(near, BRIDGED_UNIX, 0, {});
    reactor.close(near);
    relay.dialFailed(errno);
  }

  cancelDial(): void {}

  confirmEnd(): void {
    throw new Error('only dedicated streams ask');
  }

  announceReset(): void {
    throw new Error('only dedicated streams announce');
  }

  released(): void {
    this.over();
  }
}

const NOBODY = { ready(): void {} };
