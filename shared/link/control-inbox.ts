import type { ControlMessage } from '../control-codec.ts';
import { BridgeError } from '../errors.ts';

/** A peer may say this much before our side has turned to it, which takes it a few turns of the event loop. */
const MAX_QUEUED = 256;

type Handler = (message: ControlMessage) => void;

/**
 * Hands the control messages of a link to whom they are for, in order: one at a time to a step of setting the link up,
 * then to the handler that stays. What nobody takes yet waits.
 */
export class ControlInbox {
  private readonly queue: ControlMessage[] = [];
  private once: Handler | undefined;
  private handler: Handler | undefined;

  /** A message has come. @throws BridgeError PROTOCOL when too many wait, and what the handler throws */
  take(message: ControlMessage): void {
    const handler = this.once ?? this.handler;
    this.once = undefined;
    if (handler !== undefined) handler(message);
    else if (this.queue.length < MAX_QUEUED) this.queue.push(message);
    else throw new BridgeError('PROTOCOL', 'control messages that nobody asked for');
  }

  /** Waits for one message; a later call takes the place of one that nothing came for. */
  next(handler: Handler): void {
    const queued = this.queue.shift();
    if (queued === undefined) this.once = handler;
    else handler(queued);
  }

  /** Takes all messages from now on, first those that wait. @throws what the handler throws */
  handle(handler: Handler): void {
    this.handler = handler;
    for (const message of this.queue.splice(0)) handler(message);
  }
}
