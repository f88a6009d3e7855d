/**
 * One direction of a relay: bytes from one side to the other, in order, with no more kept than one buffer or
 * one pipe. Small reads are copied, one read and one write. A read that fills the buffer means bulk: from then
 * on the bytes are spliced through a pipe and never come to user space, until the source runs dry.
 */
import { ERRNO } from '../../errors.ts';
import type { Pace, PacedWaiter } from '../../pace.ts';
import { SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from './constants.ts';
import { type Deadline, removeDeadline, type Timed } from './deadlines.ts';
import type { Pipe } from './pipe-pool.ts';
import { COPY_BYTES, type Reactor, type Task } from './reactor.ts';
import type { Side } from './side.ts';

/** Steps in a row before others get their turn. */
const MAX_STEPS = 16;
/** How long a lead waits for the bytes that it goes before, milliseconds. */
const LEAD_MS = 1;

export interface DirectionOwner {
  /** An end of stream was read. */
  sawEnd(side: Side): void;
  failed(side: Side, errno: number): void;
  /** The last byte was written. @returns whether both sides are closed now, which passes the end on as well */
  finished(): boolean;
}

export class Direction implements Task, Timed, PacedWaiter {
  /** Bytes that it has read. */
  moved = 0;
  /** The end of stream was passed on. */
  shut = false;
  /** What was read waits until it may pass. */
  waiting = false;
  private readonly reactor: Reactor;
  private readonly from: Side;
  private readonly to: Side;
  private readonly owner: DirectionOwner;
  private readonly counters: Float64Array;
  private readonly counter: number;
  private readonly pace: Pace | undefined;
  private held: Buffer | undefined;
  private leading: Buffer | undefined;
  private leadDeadline: Deadline | undefined;
  private pipe: Pipe | undefined;
  private piped = 0;
  private sinceDry = 0;
  private endWanted = false;
  private queued = false;
  /** There is a limit to how fast bytes may pass, as of the last look. */
  private limited = false;

  /** @param counter which element of `counters` counts the bytes. @param pace how fast they may pass */
  constructor(
    reactor: Reactor,
    from: Side,
    to: Side,
    owner: DirectionOwner,
    counters: Float64Array,
    counter: number,
    pace: Pace | undefined,
  ) {
    this.reactor = reactor;
    this.from = from;
    this.to = to;
    this.owner = owner;
    this.counters = counters;
    this.counter = counter;
    this.pace = pace;
  }

  /** Something has been read and not yet been written. */
  get pending(): boolean {
    return this.held !== undefined || this.piped > 0;
  }

  /** Puts bytes in front that were read before the direction was there. @param counted whether they are payload */
  hold(bytes: Buffer, counted: boolean): void {
    if (bytes.length === 0) return;
    this.held = this.held === undefined ? Buffer.from(bytes) : Buffer.concat([this.held, bytes]);
    this.limited = this.pace?.limited === true;
    if (counted) this.count(bytes.length);
  }

  /** Bytes that go out together with the first that are read, or alone when none are read within a moment. */
  lead(bytes: Buffer): void {
    this.leading = bytes;
    this.leadDeadline = this.reactor.deadlinesOf(LEAD_MS).add(this, this.reactor.now);
  }

  expired(): void {
    this.pushLead();
    this.pump();
  }

  /** Passes the end on behind the last byte. */
  end(): void {
    this.endWanted = true;
    this.pushLead();
    this.pump();
  }

  /** Moves what can be moved. */
  pump(): void {
    this.limited = this.pace?.limited === true;
    for (let steps = 0; ; steps++) {
      if (this.shut || this.waiting || this.to.closed) return;
      if (this.pending) {
        if (!this.flush()) return;
        continue;
      }
      if (this.endWanted) return this.finish();
      if (!this.from.readable || this.from.eof || this.from.closed) return this.ranDry();
      if (steps >= MAX_STEPS) return this.queue();
      if (this.pipe === undefined) this.copy();
      else this.spliceIn(this.pipe);
    }
  }

  run(): void {
    this.queued = false;
    this.pump();
  }

  due(): void {
    this.waiting = false;
    this.pump();
  }

  /** Gives up what it holds. */
  drop(): void {
    this.shut = true;
    if (this.waiting) this.pace?.cancel(this);
    this.waiting = false;
    this.takeLead();
    this.held = undefined;
    if (this.pipe !== undefined) this.reactor.pipes.give(this.pipe, this.piped === 0);
    this.pipe = undefined;
    this.piped = 0;
  }

  private finish(): void {
    this.drop();
    if (!this.owner.finished()) this.reactor.sockets.shutdownWrite(this.to.fd);
  }

  private copy(): void {
    const { from, to, reactor } = this;
    const { libc, buffer } = reactor;
    const start = this.leading === undefined ? 0 : this.leading.length;
    const room = this.limited ? this.turn(COPY_BYTES - start) : COPY_BYTES - start;
    const count = libc.read(from.fd, buffer.address + start, room);
    if (count <= 0) return this.readNothing(count);
    const length = start + count;
    if (start > 0) this.takeLead()?.copy(buffer.bytes);
    // epoll(7): a stream that gave less than was asked for is empty; what comes later is a new edge.
    if (length === COPY_BYTES) this.pipe = reactor.pipes.take();
    else if (count < room && !from.hangUp) from.readable = false;
    this.count(count);
    if (this.waiting) {
      this.held = Buffer.from(buffer.bytes.subarray(0, length));
      return;
    }
    const written = libc.write(to.fd, buffer.address, length);
    if (written === length) return;
    if (written < 0 && !isTransient(libc.errno())) return this.owner.failed(to, libc.errno());
    this.held = Buffer.from(buffer.bytes.subarray(Math.max(0, written), length));
  }

  /** What leads goes out without waiting any longer. */
  private pushLead(): void {
    const lead = this.takeLead();
    if (lead !== undefined) this.hold(lead, false);
  }

  private takeLead(): Buffer | undefined {
    const lead = this.leading;
    this.leading = undefined;
    if (this.leadDeadline !== undefined) removeDeadline(this.leadDeadline);
    this.leadDeadline = undefined;
    return lead;
  }

  private spliceIn(pipe: Pipe): void {
    const { libc } = this.reactor;
    const flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    const room = this.limited ? this.turn(pipe.capacity) : pipe.capacity;
    const count = libc.splice(this.from.fd, 0, pipe.writeFd, 0, room, flags);
    if (count > 0) {
      this.piped = count;
      this.count(count);
    } else if (count < 0) this.readNothing(count);
    // Urgent data makes splice answer 0 as well (tcp_splice_read): only a read tells an end.
    else this.leavePipe();
  }

  private readNothing(count: number): void {
    const { from } = this;
    if (count < 0) {
      const errno = this.reactor.libc.errno();
      if (errno === ERRNO.EINTR) return;
      if (errno !== ERRNO.EAGAIN) return this.owner.failed(from, errno);
      from.readable = false;
      return;
    }
    from.readable = false;
    from.eof = true;
    this.owner.sawEnd(from);
  }

  /** @returns false when there is no room, or the target is gone */
  private flush(): boolean {
    const { to, reactor, pipe, held } = this;
    const { libc, buffer } = reactor;
    let count: number;
    if (held !== undefined) {
      held.copy(buffer.bytes);
      const length = Math.min(held.length, COPY_BYTES);
      count = libc.write(to.fd, buffer.address, length);
      if (count >= 0) this.held = count === held.length ? undefined : held.subarray(count);
    } else {
      count = libc.splice(pipe!.readFd, 0, to.fd, 0, this.piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (count >= 0) this.piped -= count;
    }
    if (count >= 0) return true;
    const errno = libc.errno();
    if (errno === ERRNO.EINTR) return true;
    if (errno === ERRNO.EAGAIN) to.wantRoom();
    else this.owner.failed(to, errno);
    return false;
  }

  /** The source has nothing now. A pipe stays only with a direction that has just moved much. */
  private ranDry(): void {
    if (this.pipe !== undefined && this.sinceDry < COPY_BYTES) this.leavePipe();
    this.sinceDry = 0;
  }

  private leavePipe(): void {
    if (this.pipe !== undefined) this.reactor.pipes.give(this.pipe, true);
    this.pipe = undefined;
  }

  private queue(): void {
    if (this.queued) return;
    this.queued = true;
    this.reactor.later(this);
  }

  /** The most to read at a time where there is a limit, and room for so much, bytes. */
  private turn(room: number): number {
    return Math.min(room, this.pace!.turn);
  }

  private count(bytes: number): void {
    this.sinceDry += bytes;
    this.moved += bytes;
    this.counters[this.counter]! += bytes;
    if (this.limited) this.waiting = !this.pace!.book(this, bytes);
  }
}

function isTransient(errno: number): boolean {
  return errno === ERRNO.EAGAIN || errno === ERRNO.EINTR;
}
