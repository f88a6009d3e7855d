/**
 * An end over a descriptor, for connections whose other end is a channel of a link in the same worker. Its bytes are
 * drawn by the link when it is the channel's turn, and read straight into what the link sends; what comes from the
 * link is written from where it was read. What the descriptor does not take is copied and kept: at most one read of
 * the link, because the other end is paused then.
 *
 * How an end of stream is told from a reset is said in relay.ts, of sides that are no tunnels.
 */
import { BridgeError, ERRNO, errnoName } from '../../../errors.ts';
import type { Channel, ChannelSource } from '../../../mux/channel.ts';
import type { Pace, PacedWaiter } from '../../../pace.ts';
import type { End, EndHandler } from '../../../relay/end.ts';
import { EPOLLOUT } from '../constants.ts';
import { COPY_BYTES, isHangUp, type Reactor } from '../reactor.ts';
import { Side, type SideKind, type SideOwner, STREAM_MASK } from '../side.ts';
import type { InBox } from './in-box.ts';
import type { OutBox } from './out-box.ts';

/** What a descriptor shares with its link. */
export interface LinkBoxes {
  readonly inBox: InBox;
  readonly outBox: OutBox;
}

export class DescriptorEnd implements End, ChannelSource, SideOwner, PacedWaiter {
  private readonly reactor: Reactor;
  private readonly boxes: LinkBoxes;
  private readonly side: Side;
  private readonly drawn: (bytes: number) => void;
  private readonly pace: Pace | undefined;
  private handler: EndHandler | undefined;
  private channel: Channel | undefined;
  private paused = true;
  private rest: Buffer | undefined;
  /** What the channel draws before anything of the descriptor. */
  private leading: Buffer | undefined;
  /** That was read, and waits until it may pass. */
  private waiting = false;
  private endWanted = false;
  private shut = false;
  private over = false;

  /**
   * Takes over a descriptor that is not watched yet.
   * @param drawn told of every byte that was read
   * @param pace how fast they may pass, where there may be a limit
   */
  constructor(
    reactor: Reactor,
    fd: number,
    kind: SideKind,
    boxes: LinkBoxes,
    drawn: (bytes: number) => void,
    pace?: Pace,
  ) {
    this.reactor = reactor;
    this.boxes = boxes;
    this.drawn = drawn;
    this.pace = pace;
    this.side = new Side(reactor, fd, kind, 'initiating', this);
  }

  /** Begins to watch. @param flags what epoll has said of it and nobody has acted on. @returns 0 or the errno */
  watch(flags = 0): number {
    this.side.note(flags);
    return this.reactor.watch(this.side.fd, STREAM_MASK, this.side);
  }

  /** The same for a descriptor that is watched already. */
  adopt(flags: number): void {
    this.reactor.hand(this.side.fd, this.side);
    this.side.note(flags);
  }

  /** Bytes that go before the first that the descriptor gives; they do not count as drawn. */
  lead(bytes: Buffer): void {
    this.leading = bytes;
  }

  /** The channel that draws from it. */
  feed(channel: Channel): void {
    this.channel = channel;
    channel.source = this;
  }

  attach(handler: EndHandler): void {
    this.handler = handler;
  }

  accept(): void {}

  refuse(reason: BridgeError): void {
    this.reset(reason);
  }

  write(chunk: Buffer): boolean {
    if (this.over || this.shut) return true;
    if (this.rest !== undefined) {
      this.rest = Buffer.concat([this.rest, chunk]);
      return false;
    }
    const written = this.put(chunk);
    if (this.over || written === chunk.length) return true;
    this.rest = Buffer.from(chunk.subarray(written));
    return false;
  }

  end(): void {
    this.endWanted = true;
    this.endIfWritten();
  }

  reset(_reason: BridgeError): void {
    if (this.over) return;
    this.giveUp();
    this.side.abort();
    this.handler?.closed();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    if (this.readable) this.channel?.sourceReady();
  }

  get backlog(): number {
    return this.rest?.length ?? 0;
  }

  get readable(): boolean {
    if (this.paused || this.over || this.waiting) return false;
    return this.leading !== undefined || (this.side.readable && !this.side.eof);
  }

  draw(max: number): Buffer | undefined {
    const { side, reactor, pace } = this;
    const { outBox } = this.boxes;
    if (!this.readable || outBox.room === 0) return undefined;
    if (this.leading !== undefined) return this.drawLead(max);
    const limited = pace?.limited === true;
    const most = Math.min(max, outBox.room, limited ? pace.turn : max);
    const count = outBox.read(side.fd, most);
    if (count > 0) {
      // epoll(7): a stream that gave less than was asked for is empty; what comes later is a new edge.
      if (count < most && !side.hangUp) side.readable = false;
      this.drawn(count);
      if (!limited || pace.book(this, count)) return outBox.keep(count);
      this.waiting = true;
      this.leading = outBox.copy(count);
      return undefined;
    }
    if (count < 0) {
      const errno = reactor.libc.errno();
      if (errno === ERRNO.EAGAIN) side.readable = false;
      else if (errno !== ERRNO.EINTR) this.fail(errno);
      return undefined;
    }
    this.sawEnd();
    return undefined;
  }

  due(): void {
    this.waiting = false;
    if (this.readable) this.channel?.sourceReady();
  }

  private drawLead(max: number): Buffer {
    const lead = this.leading!;
    this.leading = lead.length > max ? lead.subarray(max) : undefined;
    return lead.subarray(0, max);
  }

  ready(side: Side, flags: number): void {
    if (this.over) return;
    if (side.eof || this.paused || this.waiting) {
      if (isHangUp(flags) && !this.shut && !this.probe()) return;
    } else if (side.readable && (flags & ~EPOLLOUT) !== 0) this.channel?.sourceReady();
    if ((flags & EPOLLOUT) !== 0 && this.rest !== undefined) this.flush();
  }

  private sawEnd(): void {
    const { side } = this;
    side.readable = false;
    side.eof = true;
    if (side.probes && !this.shut && side.hungUp && !this.probe()) return;
    this.handler?.ended();
    this.closeIfDone();
  }

  /** @returns how many bytes were taken */
  private put(chunk: Buffer): number {
    const address = this.boxes.inBox.addressOf(chunk);
    if (address !== undefined) return this.putFrom(address, chunk.length);
    const { buffer } = this.reactor;
    let taken = 0;
    while (taken < chunk.length && !this.over) {
      const length = chunk.copy(buffer.bytes, 0, taken, Math.min(chunk.length, taken + COPY_BYTES));
      const written = this.putFrom(buffer.address, length);
      taken += written;
      if (written < length) break;
    }
    return taken;
  }

  private putFrom(address: number, length: number): number {
    const { libc } = this.reactor;
    for (let taken = 0; ; ) {
      const count = libc.write(this.side.fd, address + taken, length - taken);
      if (count >= 0) {
        taken += count;
        if (taken === length) return taken;
        continue;
      }
      const errno = libc.errno();
      if (errno === ERRNO.EINTR) continue;
      if (errno === ERRNO.EAGAIN) this.side.wantRoom();
      else this.fail(errno);
      return taken;
    }
  }

  private flush(): void {
    const { rest } = this;
    if (rest === undefined) return;
    const written = this.put(rest);
    if (this.over) return;
    if (written < rest.length) {
      this.rest = rest.subarray(written);
      return;
    }
    this.rest = undefined;
    if (this.endWanted) this.endIfWritten();
    else this.handler?.drained();
  }

  private endIfWritten(): void {
    if (!this.endWanted || this.shut || this.over || this.rest !== undefined) return;
    this.shut = true;
    if (!this.closeIfDone()) this.reactor.sockets.shutdownWrite(this.side.fd);
  }

  /** Both directions have ended. */
  private closeIfDone(): boolean {
    if (!this.shut || !this.side.eof || this.over) return false;
    this.giveUp();
    this.side.close();
    this.handler?.closed();
    return true;
  }

  /** @returns whether the stream is alive; else that has been dealt with */
  private probe(): boolean {
    const errno = this.side.probes ? this.reactor.sockets.probe(this.side.fd) : 0;
    if (errno === 0 || errno === ERRNO.EAGAIN) return true;
    this.fail(errno);
    return false;
  }

  private fail(errno: number): void {
    if (this.over) return;
    this.giveUp();
    this.side.close();
    const why = `the connection broke: ${errnoName(errno)}`;
    this.handler?.reset(new BridgeError('RESET', why, { errno }));
    this.handler?.closed();
  }

  private giveUp(): void {
    this.over = true;
    if (this.waiting) this.pace?.cancel(this);
    this.waiting = false;
    this.rest = undefined;
  }
}
