/**
 * One channel of a mux session, pure: calls in, frames out through its session, events to its handler.
 * It ends cleanly when both sides have sent Shutdown; each then sends Close once. A Close from the peer
 * before that, or a Reset, is a reset. The id is free when Close (or Reset) has gone both ways.
 */
import type { Destination } from '../destination.ts';
import { ERRNO } from '../errors.ts';
import type { StreamDetails } from '../stream-details.ts';
import { COMMAND, encodeBare, encodeDataHeader, encodeErrno, encodeWindow } from './frame.ts';
import type { ReceiveWindow } from './window.ts';

/** What a channel tells its user; no call comes after `closed`. */
export interface ChannelHandler {
  /** Opener only: 0 when the destination was reached, else a Linux errno number; then only `closed` follows. */
  dialResult(errno: number): void;
  /** Payload; the credit goes back to the peer with `channel.consumed(bytes)`. */
  data(chunk: Buffer): void;
  /** The peer has half-closed. */
  end(): void;
  /** The channel was aborted by the peer or with the link. */
  reset(errno: number): void;
  /** After `write` answered false: there is room again. */
  drain(): void;
  /** Our half-close has been handed to the link behind the last byte. */
  flushed(): void;
  /** Both sides are done with the channel. */
  closed(): void;
}

/**
 * Where a channel's payload is drawn from when it is its turn, in place of `write`: nothing is read before it can be
 * sent, so nothing is kept.
 */
export interface ChannelSource {
  /** There may be something to draw. Whoever makes it true calls `channel.sourceReady`. */
  readonly readable: boolean;
  /**
   * @returns 1 to `max` bytes, which stay as they are until the session is asked for more output; undefined when
   *   there are none. May end or reset the channel.
   */
  draw(max: number): Buffer | undefined;
}

/** What a channel needs of its session. */
export interface ChannelHost {
  readonly dialResults: boolean;
  readonly resets: boolean;
  send(frame: Buffer, command: number, id: number, value: number): void;
  ready(channel: Channel): void;
  free(channel: Channel): void;
  /** Adds to (or takes from) the count of bytes that wait in send queues; answers whether that is too many. */
  queueChanged(delta: number): boolean;
}

/** A channel whose send queue holds this much asks its user to stop until it has halved, bytes. */
const SEND_HIGH_WATER = 256 * 1024;

const NO_DETAILS: StreamDetails = {};

export class Channel {
  readonly id: number;
  readonly destination: Destination;
  /** Acceptor: what the opener has said besides. */
  readonly details: StreamDetails;
  handler: ChannelHandler;
  /** Set before anything is sent, by a user that does not `write`. */
  source: ChannelSource | undefined;
  private readonly host: ChannelHost;
  private readonly window: ReceiveWindow;
  private readonly opener: boolean;
  private dialling: boolean;
  private queue: Buffer[] = [];
  private queued = 0;
  private sent = 0;
  private allowed = 0;
  private needDrain = false;
  private endWanted = false;
  private shutdownSent = false;
  private shutdownReceived = false;
  private closeSent = false;
  private closeReceived = false;
  private gone = false;

  constructor(
    id: number,
    destination: Destination,
    host: ChannelHost,
    window: ReceiveWindow,
    role: { opener: boolean; handler: ChannelHandler; details?: StreamDetails | undefined },
  ) {
    this.id = id;
    this.destination = destination;
    this.details = role.details ?? NO_DETAILS;
    this.host = host;
    this.window = window;
    this.opener = role.opener;
    this.handler = role.handler;
    this.dialling = role.opener && host.dialResults;
    if (role.opener) this.advertise(this.window.open());
  }

  /** Acceptor: the destination was reached; tells the peer so and lets it send. */
  accept(): void {
    if (this.closeSent || this.opener) return;
    if (this.host.dialResults) this.sendErrno(COMMAND.dialResult, 0);
    this.advertise(this.window.open());
  }

  /** Acceptor: the destination could not be reached. */
  refuse(errno: number): void {
    if (this.closeSent) return;
    if (this.host.dialResults) this.sendErrno(COMMAND.dialResult, errno);
    this.sendClose();
  }

  /**
   * Queues payload. Dropped when the channel can no longer send.
   * @returns false when the caller should wait for `drain`
   */
  write(chunk: Buffer): boolean {
    if (this.closeSent || this.closeReceived || this.endWanted || chunk.length === 0) return true;
    this.queue.push(chunk);
    this.queued += chunk.length;
    const crowded = this.host.queueChanged(chunk.length);
    if (this.allowed > this.sent) this.host.ready(this);
    if (this.queued < SEND_HIGH_WATER && !crowded) return true;
    this.needDrain = true;
    return false;
  }

  /** The source has something to draw. */
  sourceReady(): void {
    if (this.allowed > this.sent && !this.endWanted && !this.closeSent) this.host.ready(this);
  }

  /** Half-closes behind the last queued byte. */
  end(): void {
    if (this.endWanted || this.closeSent) return;
    this.endWanted = true;
    if (this.queued === 0) this.sendShutdown();
  }

  /** Aborts both directions; the peer resets its end. Queued bytes are dropped. */
  reset(errno: number): void {
    if (this.closeSent) return;
    if (this.host.resets) {
      this.closeSent = true;
      this.dropQueue();
      this.sendErrno(COMMAND.reset, errno);
    } else {
      this.sendClose();
    }
    this.freeIfDone();
  }

  /** The user has taken `bytes` of what `data` gave it. */
  consumed(bytes: number): void {
    if (this.gone) return;
    const sequence = this.window.consume(bytes);
    if (sequence !== undefined && !this.shutdownReceived && !this.closeSent && !this.closeReceived)
      this.advertise(sequence);
  }

  /** Bytes queued and not yet handed to the link. */
  get writableLength(): number {
    return this.queued;
  }

  /**
   * For the session's scheduler: moves at most `quantum` bytes of queue or source into `out`, as one Data frame.
   * @returns the bytes taken; `more` when the channel can send again at once
   */
  takeInto(out: Buffer[], quantum: number): { bytes: number; more: boolean } {
    if (this.source !== undefined) return this.drawInto(out, this.source, quantum);
    const bytes = Math.min(this.queued, this.allowed - this.sent, quantum);
    if (bytes <= 0 || this.closeSent) return { bytes: 0, more: false };
    out.push(encodeDataHeader(this.id, bytes));
    let left = bytes;
    let whole = 0;
    while (left > 0) {
      const chunk = this.queue[whole]!;
      if (chunk.length <= left) {
        out.push(chunk);
        whole++;
        left -= chunk.length;
      } else {
        out.push(chunk.subarray(0, left));
        this.queue[whole] = chunk.subarray(left);
        left = 0;
      }
    }
    this.queue.splice(0, whole);
    this.queued -= bytes;
    this.sent += bytes;
    this.host.queueChanged(-bytes);
    return { bytes, more: this.queued > 0 && this.allowed > this.sent };
  }

  private drawInto(out: Buffer[], source: ChannelSource, quantum: number): { bytes: number; more: boolean } {
    const most = Math.min(this.allowed - this.sent, quantum);
    if (most <= 0 || this.closeSent || this.endWanted) return { bytes: 0, more: false };
    const chunk = source.draw(most);
    if (chunk === undefined) return { bytes: 0, more: false };
    out.push(encodeDataHeader(this.id, chunk.length), chunk);
    this.sent += chunk.length;
    return { bytes: chunk.length, more: source.readable && this.allowed > this.sent };
  }

  /** For the session, after the bytes taken have been handed on: ends, or asks for more. */
  afterTake(): void {
    if (this.queued === 0 && this.endWanted && !this.shutdownSent && !this.closeSent) this.sendShutdown();
    else if (this.needDrain && this.queued <= SEND_HIGH_WATER / 2) {
      this.needDrain = false;
      this.handler.drain();
    }
  }

  // ---- what the peer says, called by the session ----

  dataArrives(bytes: number): void {
    this.window.arrive(bytes);
  }

  /** Payload that nobody will read is consumed here, so that the budget gets its credit back. */
  onData(slice: Buffer): void {
    if (this.closeSent || this.closeReceived || this.shutdownReceived) this.window.consume(slice.length);
    else this.handler.data(slice);
  }

  onWindow(sequence: number): void {
    if (sequence <= this.allowed) return;
    this.allowed = sequence;
    if ((this.queued > 0 || this.source?.readable === true) && !this.closeSent) this.host.ready(this);
  }

  onDialResult(errno: number): void {
    if (!this.dialling || this.closeSent) return;
    this.dialling = false;
    if (errno !== 0) this.dropQueue();
    this.handler.dialResult(errno);
    if (errno !== 0) this.sendClose();
  }

  onShutdown(): void {
    if (this.shutdownReceived || this.closeReceived) return;
    this.shutdownReceived = true;
    if (this.closeSent) return;
    this.handler.end();
    this.closeIfEnded();
  }

  /** A Close (errno absent) or a Reset, which counts as one. */
  onClose(errno?: number): void {
    if (this.closeReceived) return;
    this.closeReceived = true;
    const clean = errno === undefined && this.shutdownReceived && this.shutdownSent;
    if (!this.closeSent) {
      this.sendClose();
      if (!clean) this.handler.reset(errno ?? (this.shutdownReceived ? ERRNO.EPIPE : ERRNO.ECONNRESET));
    }
    this.freeIfDone();
  }

  /** The session is gone. */
  lost(errno: number): void {
    if (this.gone) return;
    this.gone = true;
    const quiet = this.closeSent;
    this.closeSent = true;
    this.closeReceived = true;
    this.dropQueue();
    this.window.close();
    if (!quiet) this.handler.reset(errno);
    this.handler.closed();
  }

  /** One line for a dump. */
  describe(): string {
    const flags = [
      this.dialling && 'dialling',
      this.shutdownSent && 'shutdown sent',
      this.shutdownReceived && 'shutdown received',
      this.closeSent && 'close sent',
    ].filter(Boolean);
    return `channel ${this.id} sent ${this.sent}/${this.allowed} queued ${this.queued} ${flags.join(', ')}`;
  }

  private advertise(sequence: number): void {
    this.host.send(encodeWindow(this.id, sequence), COMMAND.window, this.id, sequence);
  }

  private sendErrno(command: typeof COMMAND.dialResult | typeof COMMAND.reset, errno: number): void {
    this.host.send(encodeErrno(command, this.id, errno), command, this.id, errno);
  }

  private sendShutdown(): void {
    this.shutdownSent = true;
    this.host.send(encodeBare(COMMAND.shutdown, this.id), COMMAND.shutdown, this.id, 0);
    this.handler.flushed();
    this.closeIfEnded();
  }

  private closeIfEnded(): void {
    if (!this.shutdownSent || !this.shutdownReceived || this.closeSent) return;
    this.sendClose();
    this.freeIfDone();
  }

  private sendClose(): void {
    this.closeSent = true;
    this.dropQueue();
    this.host.send(encodeBare(COMMAND.close, this.id), COMMAND.close, this.id, 0);
  }

  private dropQueue(): void {
    this.host.queueChanged(-this.queued);
    this.queue = [];
    this.queued = 0;
  }

  private freeIfDone(): void {
    if (!this.closeSent || !this.closeReceived || this.gone) return;
    this.gone = true;
    this.window.close();
    this.host.free(this);
    this.handler.closed();
  }
}
