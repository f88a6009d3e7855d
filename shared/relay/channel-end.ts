import { BridgeError, errnoName } from '../errors.ts';
import type { End, EndHandler } from './end.ts';

/** The part of a mux channel that an end needs; `relay` knows the mux by shape only. */
export interface ChannelLike {
  write(chunk: Buffer): boolean;
  end(): void;
  accept(): void;
  refuse(errno: number): void;
  reset(errno: number): void;
  consumed(bytes: number): void;
  readonly writableLength: number;
}

/**
 * An end over a mux channel. What arrives while it is paused is held here; the channel's window bounds it,
 * because credit goes back only for what has been passed on and found room. Give it the channel with `bind`, and the channel
 * its `events`.
 */
export class ChannelEnd implements End {
  private channel: ChannelLike | undefined;
  private handler: EndHandler | undefined;
  private held: Buffer[] = [];
  private paused = true;
  private endHeld = false;
  private endSaid = false;
  private closeHeld = false;
  private closeSaid = false;
  private over = false;
  private failure: BridgeError | undefined;
  private readonly copies: boolean;
  /** Credit for what was passed on to somebody who had no room for it. */
  private owed = 0;

  /** @param copies whether the memory of what arrives is used again, so that what is held has to be copied */
  constructor(copies = false) {
    this.copies = copies;
  }

  bind(channel: ChannelLike): void {
    this.channel = channel;
  }

  attach(handler: EndHandler): void {
    this.handler = handler;
    if (this.failure !== undefined) handler.reset(this.failure);
    this.sayClosed();
  }

  accept(): void {
    this.channel?.accept();
  }

  refuse(reason: BridgeError): void {
    if (this.over) return;
    this.giveUp();
    this.channel?.refuse(reason.errno);
    this.sayClosedNow();
  }

  write(chunk: Buffer): boolean {
    return this.over || this.channel === undefined || this.channel.write(chunk);
  }

  end(): void {
    if (!this.over) this.channel?.end();
  }

  reset(reason: BridgeError): void {
    if (this.over) return;
    this.giveUp();
    this.channel?.reset(reason.errno);
    this.sayClosedNow();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.payBack();
    while (!this.paused && !this.over) {
      const chunk = this.held.shift();
      if (chunk === undefined) break;
      this.pass(chunk);
    }
    this.sayEnded();
    this.sayClosed();
  }

  get backlog(): number {
    return this.channel?.writableLength ?? 0;
  }

  /** The channel's events, for its handler; an opener adds what it makes of the dial result. */
  events() {
    return {
      dialResult(_errno: number) {},
      data: (chunk: Buffer) => this.data(chunk),
      end: () => this.ended(),
      reset: (errno: number) => this.aborted(errno),
      drain: () => this.drained(),
      flushed() {},
      closed: () => this.closed(),
    };
  }

  // ---- the channel's events ----

  data(chunk: Buffer): void {
    if (this.over) this.channel?.consumed(chunk.length);
    else if (this.paused || this.held.length > 0) this.held.push(this.copies ? Buffer.from(chunk) : chunk);
    else this.pass(chunk);
  }

  ended(): void {
    this.endHeld = true;
    this.sayEnded();
  }

  drained(): void {
    if (!this.over) this.handler?.drained();
  }

  aborted(errno: number): void {
    if (this.over) return;
    this.giveUp();
    this.failure = new BridgeError(
      'RESET',
      `the connection was reset behind the link (${errnoName(errno)})`,
      {
        errno,
      },
    );
    this.handler?.reset(this.failure);
  }

  closed(): void {
    this.closeHeld = true;
    this.sayClosed();
  }

  private pass(chunk: Buffer): void {
    this.handler?.data(chunk);
    this.owed += chunk.length;
    if (!this.paused) this.payBack();
  }

  private payBack(): void {
    const { owed } = this;
    this.owed = 0;
    if (owed > 0) this.channel?.consumed(owed);
  }

  /** Held bytes will not be read: their credit goes back, so that the link's budget does not leak. */
  private giveUp(): void {
    this.over = true;
    this.payBack();
    for (const chunk of this.held.splice(0)) this.channel?.consumed(chunk.length);
  }

  private sayEnded(): void {
    if (!this.endHeld || this.endSaid || this.over || this.held.length > 0 || this.paused) return;
    this.endSaid = true;
    this.handler?.ended();
  }

  private sayClosed(): void {
    if (this.closeHeld && (this.over || this.endSaid)) this.sayClosedNow();
  }

  private sayClosedNow(): void {
    if (this.closeSaid || this.handler === undefined) return;
    this.closeSaid = true;
    this.handler.closed();
  }
}
