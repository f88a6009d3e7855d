/**
 * A stream that carries all flows of a forward, in a worker. Nobody waits for it: when it is full, what a write left
 * over is kept, and whoever feeds it stops reading until there is room, so that the kernel drops.
 */
import { ERRNO, messageOf } from '../../../errors.ts';
import { AbortedStream } from '../aborted-stream.ts';
import type { Piece } from '../arena.ts';
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from '../constants.ts';
import { isHangUp, type Reactor, type Task, type Watcher } from '../reactor.ts';
import { beginWindow, type Carry, type FrameReader, readWindow } from './frame-window.ts';
import type { ReceiveBatch } from './receive-batch.ts';

const MASK = EPOLLIN | EPOLLRDHUP | EPOLLET;
const GONE = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
/** Reads in a row before others get their turn. */
const MAX_READS = 4;
const FRAME_BYTES = 10;
const FLAG_ENDED = 2;

export interface FlowStreamOwner extends FrameReader {
  /** There is room again. */
  drained(): void;
  /** The stream is over, and its owner has to close or abort it. */
  over(why: string, malformed: boolean): void;
}

export class FlowStream implements Watcher, Task, Carry {
  rest: Buffer | undefined;
  private readonly reactor: Reactor;
  private readonly fd: number;
  private readonly window: Piece;
  private readonly owner: FlowStreamOwner;
  private held: Buffer | undefined;
  private closed = false;
  private hangUp = false;
  private asking = false;

  /** Takes over a descriptor that is watched. @param window for what is read, shared with other streams */
  constructor(reactor: Reactor, fd: number, window: Piece, owner: FlowStreamOwner) {
    this.reactor = reactor;
    this.fd = fd;
    this.window = window;
    this.owner = owner;
    reactor.hand(fd, this);
    reactor.rewatch(fd, MASK);
  }

  /** It is full; nothing should be written. */
  get blocked(): boolean {
    return this.held !== undefined;
  }

  /** Writes the frames of a batch. @param bytes how many they have */
  writeBatch(batch: ReceiveBatch, count: number, bytes: number): void {
    if (this.closed || bytes === 0) return;
    if (this.held !== undefined) return this.hold(batch.rest(count, 0));
    const written = batch.write(this.fd, count);
    if (written === bytes) return;
    if (written >= 0) this.hold(batch.rest(count, written));
    else if (this.reactor.libc.errno() === ERRNO.EAGAIN) this.hold(batch.rest(count, 0));
    else this.fail();
  }

  write(bytes: Buffer): void {
    if (this.closed || bytes.length === 0) return;
    if (this.held !== undefined) return this.hold(bytes);
    this.held = bytes;
    this.flush();
  }

  /** Says that a flow has ended. */
  writeEnd(flow: number): void {
    const frame = Buffer.alloc(FRAME_BYTES);
    frame.writeUInt32LE(FRAME_BYTES, 0);
    frame.writeUInt32LE(flow, 4);
    frame[8] = FLAG_ENDED;
    frame[9] = FRAME_BYTES;
    this.write(frame);
  }

  ready(flags: number): void {
    if ((flags & EPOLLOUT) !== 0 && this.held !== undefined) {
      this.flush();
      if (this.held === undefined && !this.closed) this.owner.drained();
    }
    if ((flags & GONE) !== 0) this.hangUp = true;
    if ((flags & EPOLLIN) !== 0 || isHangUp(flags)) this.run();
  }

  /** Reads and gives the frames to the owner. */
  run(): void {
    const { libc } = this.reactor;
    const { address, bytes } = this.window;
    for (let reads = 0; reads < MAX_READS; reads++) {
      if (this.closed) return;
      const from = beginWindow(bytes, this);
      const room = bytes.length - from;
      const count = libc.read(this.fd, address + from, room);
      if (count < 0 && libc.errno() === ERRNO.EAGAIN) return;
      if (count <= 0) return this.owner.over('the stream to the other side has ended', false);
      try {
        readWindow(bytes, from + count, this, this.owner);
      } catch (error) {
        return this.owner.over(messageOf(error), true);
      }
      if (count < room && !this.hangUp) return;
    }
    this.reactor.later(this);
  }

  close(): void {
    if (this.closed) return;
    this.forget();
    this.reactor.close(this.fd);
  }

  /** Leaves the descriptor to somebody who keeps it open and silent. */
  giveUp(): AbortedStream {
    this.forget();
    return new AbortedStream(this.reactor, this.fd);
  }

  private forget(): void {
    this.closed = true;
    this.held = undefined;
    this.rest = undefined;
  }

  private hold(bytes: Buffer): void {
    this.held = this.held === undefined ? bytes : Buffer.concat([this.held, bytes]);
    this.askForRoom(true);
  }

  /** A unix socket tells of every buffer that its reader takes, so it is asked only while room is missed. */
  private askForRoom(wanted: boolean): void {
    if (wanted === this.asking) return;
    this.asking = wanted;
    this.reactor.rewatch(this.fd, wanted ? MASK | EPOLLOUT : MASK);
  }

  private flush(): void {
    const { libc, buffer } = this.reactor;
    while (this.held !== undefined) {
      const length = this.held.copy(buffer.bytes, 0, 0, buffer.bytes.length);
      const count = libc.write(this.fd, buffer.address, length);
      if (count < 0) {
        const errno = libc.errno();
        if (errno === ERRNO.EINTR) continue;
        if (errno === ERRNO.EAGAIN) this.askForRoom(true);
        else this.fail();
        return;
      }
      this.held = count === this.held.length ? undefined : this.held.subarray(count);
    }
    this.askForRoom(false);
  }

  /** Reading tells what has become of it. */
  private fail(): void {
    this.held = undefined;
    this.hangUp = true;
    this.reactor.later(this);
  }
}
