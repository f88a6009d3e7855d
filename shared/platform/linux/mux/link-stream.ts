/**
 * Moves the bytes of a mux session over a descriptor in a worker: the counterpart of shared/mux/driver.ts. After every
 * batch that was written the channels are asked for more, so that a stalled one goes on without another edge. When
 * the peer asks much and reads nothing, its own requests are no longer read.
 */
import { BridgeError, ERRNO, errnoName, messageOf } from '../../../errors.ts';
import type { MuxSession } from '../../../mux/session.ts';
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from '../constants.ts';
import type { Reactor, Task, Watcher } from '../reactor.ts';
import type { LinkBoxes } from './descriptor-end.ts';
import { DRAW_BYTES } from './out-box.ts';

const MASK = EPOLLIN | EPOLLRDHUP | EPOLLET;
const GONE = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
/** Reads, and batches written, in a row before others get their turn. */
const MAX_STEPS = 4;
/** Waiting frames past which nothing more is read from the peer, bytes. */
const MAX_BACKLOG = 1024 * 1024;
/** What was passed on to the main thread and is not dealt with there, past which nothing more is read, bytes. */
const MAX_PASSED_ON = 1024 * 1024;

export class LinkStream implements Watcher, Task {
  private readonly reactor: Reactor;
  private readonly fd: number;
  private readonly boxes: LinkBoxes;
  private readonly ended: (error: BridgeError) => void;
  private session: MuxSession | undefined;
  private queued = false;
  private readable = false;
  private hangUp = false;
  private asking = false;
  private flushing = false;
  private stopping = false;
  private over = false;
  private passedOn = 0;

  /**
   * Takes over a descriptor. Call `start` once the session exists; its `writable` event must call `schedule`.
   * @param ended called once, with why the session is over; the descriptor is closed by then
   */
  constructor(reactor: Reactor, fd: number, boxes: LinkBoxes, ended: (error: BridgeError) => void) {
    this.reactor = reactor;
    this.fd = fd;
    this.boxes = boxes;
    this.ended = ended;
  }

  /** Begins to read and write. @param early what was read from the stream already */
  start(session: MuxSession, early: Buffer): void {
    this.session = session;
    this.readable = true;
    const errno = this.reactor.watch(this.fd, MASK, this);
    if (errno !== 0) return this.stop(lost(`epoll_ctl: ${errnoName(errno)}`));
    if (early.length > 0) this.receive(session, early);
    this.schedule();
  }

  /** Asks for a turn behind whatever is ready now. */
  schedule(): void {
    if (this.queued || this.over || this.session === undefined) return;
    this.queued = true;
    this.reactor.later(this);
  }

  /** So many bytes of messages wait for the main thread, besides others: a queue between threads has no end of its own. */
  passOn(bytes: number): void {
    this.passedOn += bytes;
  }

  /** The main thread has dealt with so many. */
  dealtWith(bytes: number): void {
    this.passedOn -= bytes;
    this.schedule();
  }

  ready(flags: number): void {
    if ((flags & (EPOLLIN | GONE)) !== 0) this.readable = true;
    if ((flags & GONE) !== 0) this.hangUp = true;
    this.turn();
  }

  run(): void {
    this.queued = false;
    this.turn();
  }

  /** Sends what can be sent at once, then ends session and stream; every channel is reset. May be called twice. */
  stop(error: BridgeError): void {
    if (this.over) return;
    if (!this.flushing && !this.stopping) {
      this.stopping = true;
      this.flush();
    }
    if (this.over) return;
    this.over = true;
    this.reactor.close(this.fd);
    this.session?.fail(ERRNO.ECONNABORTED);
    this.ended(error);
  }

  private turn(): void {
    this.flush();
    for (let reads = 0; this.readable && !this.over && !this.choked; reads++) {
      if (reads === MAX_STEPS) return this.schedule();
      this.read();
      this.flush();
    }
  }

  /** The peer asks much and reads nothing, or says more than the main thread gets done. */
  private get choked(): boolean {
    if (this.passedOn > MAX_PASSED_ON) return true;
    return this.session!.backlog > MAX_BACKLOG && !this.boxes.outBox.empty;
  }

  private read(): void {
    const { session, reactor } = this;
    const { inBox } = this.boxes;
    const count = inBox.read(this.fd);
    if (count > 0) {
      // epoll(7): a stream that gave less than was asked for is empty; what comes later is a new edge.
      if (count < inBox.size && !this.hangUp) this.readable = false;
      return this.receive(session!, inBox.take(count));
    }
    if (count === 0) return this.stop(lost('the peer closed the link'));
    const errno = reactor.libc.errno();
    if (errno === ERRNO.EAGAIN) this.readable = false;
    else if (errno !== ERRNO.EINTR) this.stop(lost(`the link broke: ${errnoName(errno)}`));
  }

  private receive(session: MuxSession, bytes: Buffer): void {
    try {
      session.receive(bytes);
    } catch (error) {
      this.stop(
        error instanceof BridgeError
          ? error
          : new BridgeError('PROTOCOL', `internal error on the link: ${messageOf(error)}`, { cause: error }),
      );
    }
  }

  private flush(): void {
    const { session } = this;
    const { outBox } = this.boxes;
    if (this.flushing || session === undefined) return;
    this.flushing = true;
    for (let batches = 0; !this.over; batches++) {
      if (outBox.empty) {
        if (!session.hasOutput) break;
        if (batches >= MAX_STEPS) {
          this.schedule();
          break;
        }
        outBox.begin();
        outBox.add(session.take(DRAW_BYTES));
        if (this.over) return;
      }
      const errno = outBox.write(this.fd);
      if (errno === 0) continue;
      if (errno === ERRNO.EAGAIN) this.askForRoom(true);
      else {
        this.flushing = false;
        return this.stop(lost(`the link broke: ${errnoName(errno)}`));
      }
      this.flushing = false;
      return;
    }
    this.flushing = false;
    this.askForRoom(false);
  }

  /** A unix socket tells of every buffer that its reader takes, so it is asked only while room is missed. */
  private askForRoom(wanted: boolean): void {
    if (wanted === this.asking || this.over) return;
    this.asking = wanted;
    this.reactor.rewatch(this.fd, wanted ? MASK | EPOLLOUT : MASK);
  }
}

function lost(why: string): BridgeError {
  return new BridgeError('LINK_LOST', why);
}
