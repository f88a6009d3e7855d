/**
 * One connection in a worker: two sides, two directions, and the state of shared/relay/connection-table.ts,
 * which alone decides what an end or a reset means.
 *
 * An end of stream on TCP or on a dedicated stream is probed while our own direction is open: an empty send
 * fails when the peer has reset it, or, on a unix socket, closed both directions, which on a dedicated stream
 * only a dead process does. Neither is needed where a unix socket was seen with one direction closed and the other
 * open. Where that says nothing (TCP between the two programs, or our own direction has ended already), the main
 * thread is asked whether the link still stands.
 */
import { ERRNO } from '../../errors.ts';
import type { Pace } from '../../pace.ts';
import { encodeResult } from '../../preface.ts';
import { type Action, type Event, nextStep, type State } from '../../relay/connection-table.ts';
import type { AbortedStream } from './aborted-stream.ts';
import { EPOLLOUT } from './constants.ts';
import { Direction, type DirectionOwner } from './direction.ts';
import { isHangUp, type Reactor } from './reactor.ts';
import { Side, type SideKind, type SideOwner } from './side.ts';

/** Elements of a relay's counters, those of SharedCounters. */
export const BYTES_UP = 0;
export const BYTES_DOWN = 1;

/** What a relay leaves to those who made it. */
export interface RelayOwner {
  readonly counters: Float64Array;
  /** How fast bytes may pass, where there may be a limit. */
  readonly pace?: Pace;
  /** The dial is no longer wanted. */
  cancelDial(relay: Relay): void;
  /** Asks whether an end of the tunnel is a true one; the answer is given to `confirmed`. @param hurry it is waited for */
  confirmEnd(relay: Relay, hurry: boolean): void;
  /** Says over the link that the tunnel is aborted, and lets it go behind that. */
  announceReset(relay: Relay, stream: AbortedStream, errno: number): void;
  /** Both sides are closed, or aborted. @param errno 0 after a clean end */
  released(relay: Relay, errno: number): void;
}

export class Relay implements SideOwner, DirectionOwner {
  /** Number of its dedicated stream; 0 before there is one. */
  streamId = 0;
  state: State = 'dialling';
  readonly initiating: Side;
  private target: Side | undefined;
  private up: Direction | undefined;
  private down: Direction | undefined;
  private readonly reactor: Reactor;
  private readonly owner: RelayOwner;
  private errno = 0;
  private mayWait = false;

  /** Takes over the initiating side's descriptor, which is watched; its events go to `initiating`. */
  constructor(reactor: Reactor, fd: number, kind: SideKind, owner: RelayOwner) {
    this.reactor = reactor;
    this.owner = owner;
    this.initiating = new Side(reactor, fd, kind, 'initiating', this);
  }

  get over(): boolean {
    return this.state === 'aborting' || this.state === 'closed';
  }

  /** The target was not reached yet. */
  get dialling(): boolean {
    return this.state === 'dialling' || this.state === 'dialling-ended';
  }

  /** Bytes that it has carried since the target was reached, both ways. */
  get moved(): number {
    return (this.up?.moved ?? 0) + (this.down?.moved ?? 0);
  }

  /**
   * The target was reached: takes over its descriptor, which is watched.
   * @param flags what epoll has said of it and nobody has acted on
   * @param early what was read from the initiating side, and from the target, before; whether telling the initiating
   *   side that its target was reached may wait a moment for what the target says
   */
  dialled(
    fd: number,
    kind: SideKind,
    flags: number,
    early: { up?: Buffer; down?: Buffer; mayWait?: boolean },
  ): void {
    const { reactor, initiating, owner } = this;
    const target = new Side(reactor, fd, kind, 'target', this);
    this.target = target;
    reactor.hand(fd, target);
    const { counters, pace } = owner;
    this.up = new Direction(reactor, initiating, target, this, counters, BYTES_UP, pace);
    this.down = new Direction(reactor, target, initiating, this, counters, BYTES_DOWN, pace);
    if (early.up !== undefined) this.up.hold(early.up, true);
    if (early.down !== undefined) this.down.hold(early.down, true);
    this.mayWait = early.mayWait === true;
    target.note(flags);
    this.feed('dialled');
  }

  dialFailed(errno: number): void {
    this.feed('dial-failed', errno);
  }

  limit(): void {
    this.feed('limit', ERRNO.ENOBUFS);
  }

  stop(): void {
    this.feed('stop', ERRNO.ECANCELED);
  }

  /** The peer said over the link that it aborts the tunnel. */
  resetByPeer(errno: number): void {
    const tunnel = this.initiating.kind.tunnel ? this.initiating : this.target;
    if (tunnel !== undefined) this.failed(tunnel, errno);
  }

  /** The answer to `confirmEnd`. */
  confirmed(trueEnd: boolean): void {
    for (const side of [this.initiating, this.target]) {
      if (side === undefined || !side.confirming || side.closed) continue;
      side.confirming = false;
      if (trueEnd) this.feed(`${side.role}-end`);
      else this.failed(side, ERRNO.ECONNRESET);
    }
  }

  ready(side: Side, flags: number): void {
    const { up, down } = this;
    if (up === undefined || down === undefined || this.over) {
      if (side.maybeGone(flags)) this.probe(side);
      return;
    }
    const [into, out] = side.role === 'initiating' ? [up, down] : [down, up];
    if (side.eof) {
      if (side.maybeGone(flags) && !out.shut) this.probe(side);
    } else if (into.waiting && side.kind.tcp && isHangUp(flags) && !out.shut) {
      // It is not read for now, and a reset need not wait for that.
      if (!this.probe(side)) return;
    } else if (side.readable) into.pump();
    if ((flags & EPOLLOUT) !== 0 && out.pending) out.pump();
  }

  sawEnd(side: Side): void {
    const out = side.role === 'initiating' ? this.down : this.up;
    if (side.kind.tunnel && !side.kind.tcp && side.saidEnd) return this.feed(`${side.role}-end`);
    if (side.probes && out?.shut === false && (side.closingAborts || side.hungUp)) {
      if (!this.probe(side)) return;
      if (side.kind.tunnel && !side.kind.tcp) return this.feed(`${side.role}-end`);
    }
    if (!side.kind.tunnel) return this.feed(`${side.role}-end`);
    side.confirming = true;
    // A container that has said all is not kept waiting by anybody who has not.
    this.owner.confirmEnd(this, side.role === 'target' || out?.shut !== true);
  }

  failed(side: Side, errno: number): void {
    if (side.closed) return;
    side.close();
    this.feed(`${side.role}-reset`, errno);
  }

  finished(): boolean {
    if (this.up?.shut !== true || this.down?.shut !== true || this.state !== 'draining') return false;
    this.initiating.close();
    this.target?.close();
    this.settle();
    return true;
  }

  /** @returns whether the stream is alive; else that has been dealt with */
  private probe(side: Side): boolean {
    const errno = side.probes && !side.closed ? this.reactor.sockets.probe(side.fd) : 0;
    if (errno === 0 || errno === ERRNO.EAGAIN) return true;
    this.failed(side, errno);
    return false;
  }

  private feed(event: Event, errno = 0): void {
    const { next, actions } = nextStep(this.state, event);
    if (next === 'aborting' && this.state !== 'aborting') this.errno = errno === 0 ? ERRNO.ECONNRESET : errno;
    this.state = next;
    if (next === 'aborting') {
      this.up?.drop();
      this.down?.drop();
    }
    for (const action of actions) this.act(action);
    this.settle();
  }

  private act(action: Action): void {
    const { initiating, target } = this;
    switch (action) {
      case 'accept-initiating':
        if (!initiating.kind.tunnel) return;
        if (this.mayWait) this.down?.lead(RESULT_REACHED);
        else this.down?.hold(RESULT_REACHED, false);
        return;
      case 'refuse-initiating':
        return this.refuse();
      case 'cancel-dial':
        return this.owner.cancelDial(this);
      case 'start':
        this.down?.pump();
        return this.up?.pump();
      case 'end-initiating':
        return this.down?.end();
      case 'end-target':
        return this.up?.end();
      case 'reset-initiating':
        return this.abort(initiating);
      case 'reset-target':
        if (target !== undefined) this.abort(target);
        return;
    }
  }

  private abort(side: Side): void {
    if (side.closed) return;
    if (!side.kind.tunnel) return side.abort();
    this.owner.announceReset(this, side.giveUp(), this.errno);
  }

  /** A tunnel that was not answered yet is told the errno; its peer closes it then. */
  private refuse(): void {
    const side = this.initiating;
    if (!side.kind.tunnel || side.closed) return side.abort();
    const { libc, sockets, buffer } = this.reactor;
    encodeResult(this.errno).copy(buffer.bytes);
    libc.write(side.fd, buffer.address, RESULT_REACHED.length);
    sockets.shutdownWrite(side.fd);
    side.giveUp().announced();
  }

  private settle(): void {
    const { state, initiating, target } = this;
    if (!initiating.closed || target?.closed === false) return;
    if (state !== 'aborting' && state !== 'draining') return;
    this.state = nextStep(state, 'released').next;
    this.up?.drop();
    this.down?.drop();
    this.owner.released(this, this.errno);
  }
}

const RESULT_REACHED = encodeResult(0);
