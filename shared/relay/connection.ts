import { BridgeError } from '../errors.ts';
import { type Action, type Event, nextStep, type State } from './connection-table.ts';
import { type End, type EndHandler, NOBODY } from './end.ts';
import { Gate, type GateLimits } from './gate.ts';

/** Bytes that have been relayed; shared by all connections of a forward. */
export interface RelayCounters {
  /** From the initiating side to the target, bytes. */
  bytesUp: number;
  /** From the target to the initiating side, bytes. */
  bytesDown: number;
}

export interface ConnectionHooks extends GateLimits {
  readonly counters: RelayCounters;
  /** The dial is no longer wanted. */
  cancelDial(): void;
  /** Everything is released. @param error why, when it was not a clean end */
  closed(error: BridgeError | undefined): void;
}

/**
 * One connection: two ends, the table's state, and the copying between them. Each direction is on its own;
 * an end that cannot take more pauses the other, so nothing piles up here.
 */
export class Connection {
  private state: State = 'dialling';
  private readonly initiating: End;
  private target: End | undefined;
  private initiatingClosed = false;
  private targetClosed = true;
  private reason: BridgeError | undefined;
  private readonly gates: { initiating?: Gate; target?: Gate } = {};
  private readonly hooks: ConnectionHooks;

  /** Takes over the initiating end, which stays paused until the target has been dialled. */
  constructor(initiating: End, hooks: ConnectionHooks) {
    this.initiating = initiating;
    this.hooks = hooks;
    initiating.attach(this.handlerOf('initiating'));
  }

  /** Bytes that it has carried, both ways; those that wait for their rate are none yet. */
  get moved(): number {
    return (this.gates.initiating?.passed ?? 0) + (this.gates.target?.passed ?? 0);
  }

  /** The target was not reached yet. */
  get dialling(): boolean {
    return this.state === 'dialling' || this.state === 'dialling-ended';
  }

  /** The target was reached. When the connection is already over, the target is reset. */
  dialled(target: End): void {
    if (!this.dialling) {
      target.attach(NOBODY);
      target.reset(this.reason ?? new BridgeError('CANCELLED', 'the connection is over'));
      return;
    }
    this.target = target;
    this.targetClosed = false;
    const { next, actions } = nextStep(this.state, 'dialled');
    this.state = next;
    // It may have been reached and reset in one go, and says so at once: that is an event of the new state.
    target.attach(this.handlerOf('target'));
    if (this.state === next) for (const action of actions) this.act(action);
    this.releaseIfClosed();
  }

  /** The target could not be reached. */
  dialFailed(error: BridgeError): void {
    this.feed('dial-failed', error);
  }

  /** The connection is refused or ended because a limit is reached. */
  limit(error: BridgeError): void {
    this.feed('limit', error);
  }

  /** Ends the connection at once, both sides by a reset. */
  stop(error: BridgeError): void {
    this.feed('stop', error);
  }

  private feed(event: Event, error?: BridgeError): void {
    const { next, actions } = nextStep(this.state, event);
    const aborts = next !== this.state && next === 'aborting';
    if (aborts) this.reason = error;
    this.state = next;
    if (aborts) {
      this.gates.initiating?.close();
      this.gates.target?.close();
    }
    for (const action of actions) this.act(action);
    this.releaseIfClosed();
  }

  private releaseIfClosed(): void {
    if (!this.initiatingClosed || !this.targetClosed || this.state === 'closed') return;
    this.state = nextStep(this.state, 'released').next;
    if (this.state === 'closed') this.hooks.closed(this.reason);
  }

  private act(action: Action): void {
    const { initiating, target } = this;
    const reason = this.reason ?? RESET;
    switch (action) {
      case 'accept-initiating':
        return initiating.accept();
      case 'refuse-initiating':
        return initiating.refuse(reason);
      case 'cancel-dial':
        return this.hooks.cancelDial();
      case 'start':
        initiating.resume();
        return target?.resume();
      case 'end-initiating':
        return initiating.end();
      case 'end-target':
        return target?.end();
      case 'reset-initiating':
        return initiating.reset(reason);
      case 'reset-target':
        return target?.reset(reason);
    }
  }

  private handlerOf(side: 'initiating' | 'target'): EndHandler {
    const up = side === 'initiating';
    const { counters } = this.hooks;
    const [from, to] = [() => this.initiating, () => this.target];
    const gate = new Gate(up ? { from, to } : { from: to, to: from }, this.hooks);
    this.gates[side] = gate;
    return {
      data: (chunk) => {
        if (up) counters.bytesUp += chunk.length;
        else counters.bytesDown += chunk.length;
        gate.pass(chunk);
      },
      // A stream of Node's says that it has ended, and is closed then, also when it was paused with its last byte.
      ended: () => gate.afterwards(() => this.feed(up ? 'initiating-end' : 'target-end')),
      reset: (error) => this.feed(up ? 'initiating-reset' : 'target-reset', error),
      drained: () => this.gates[up ? 'target' : 'initiating']?.drained(),
      closed: () => {
        if (gate.hasMore) return gate.afterwards(() => this.closed(side));
        gate.close();
        this.closed(side);
      },
    };
  }

  private closed(side: 'initiating' | 'target'): void {
    if (side === 'initiating') {
      this.initiatingClosed = true;
      this.feed('initiating-gone', INITIATING_GONE);
    } else {
      this.targetClosed = true;
      this.feed('target-gone', TARGET_GONE);
    }
  }
}

// Made once: an error with its stack costs more than the rest of closing a connection.
const RESET = new BridgeError('RESET', 'the connection was reset');
const INITIATING_GONE = new BridgeError('RESET', 'the initiating side went away');
const TARGET_GONE = new BridgeError('RESET', 'the target went away');
