import { BridgeError } from '../errors.ts';
import type { MuxSession } from '../mux/session.ts';
import { Heartbeat, type Moment, momentNow } from './heartbeat.ts';

export interface HeartEvents {
  /** The peer has answered; milliseconds between question and answer. */
  rtt(ms: number): void;
  /** It is dead: the session is to be ended. */
  dead(reason: BridgeError): void;
}

/** The heart-beat of one session, in the thread that carries it; a timer of that thread calls `tick`. */
export class SessionHeart {
  private readonly session: Pick<MuxSession, 'sendPing' | 'received'>;
  private readonly events: HeartEvents;
  private readonly now: () => Moment;
  private readonly beat: Heartbeat;
  private number = 0;
  private askedAt = 0;

  /** Asks for the first time. */
  constructor(
    session: Pick<MuxSession, 'sendPing' | 'received'>,
    intervalMs: number,
    events: HeartEvents,
    now: () => Moment = momentNow,
  ) {
    this.session = session;
    this.events = events;
    this.now = now;
    this.beat = new Heartbeat(intervalMs, now(), session.received);
    this.ask();
  }

  /** How often `tick` is to be called, milliseconds. */
  get tickMs(): number {
    return this.beat.tickMs;
  }

  tick(): void {
    const seconds = (3 * this.beat.intervalMs) / 1_000;
    switch (this.beat.tick(this.now(), this.session.received)) {
      case 'ask':
        return this.ask();
      case 'silent':
        return this.events.dead(new BridgeError('LINK_LOST', `the peer was silent for ${seconds} s`));
      case 'silent-after-jump':
        return this.events.dead(
          new BridgeError(
            'LINK_LOST',
            'the peer was silent for a second after the clock had jumped (sleep, a pause, or a step of the time)',
          ),
        );
      case 'wait':
    }
  }

  /** The peer has answered a ping. Other numbers than the last one's count as life only, as every byte does. */
  pong(number: number): void {
    if (number !== this.number) return;
    this.beat.answered();
    this.events.rtt(this.now().steady - this.askedAt);
  }

  private ask(): void {
    this.number = (this.number + 1) >>> 0;
    this.askedAt = this.now().steady;
    this.session.sendPing(this.number);
  }
}
