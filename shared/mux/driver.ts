/**
 * Moves the bytes of a mux session over a Node stream. Output is taken only while the stream takes it, so
 * what waits stays in the channels' queues, where turns are fair. When the peer asks much and reads
 * nothing, its own requests are no longer read.
 */
import type { Duplex } from 'node:stream';
import { BridgeError, ERRNO, messageOf } from '../errors.ts';
import type { MuxSession } from './session.ts';

/** Payload handed to the stream at a time, bytes. */
const BATCH_BYTES = 256 * 1024;
/** Waiting frames past which nothing more is read from the peer, bytes. */
const MAX_BACKLOG = 1024 * 1024;

export class MuxDriver {
  private readonly stream: Duplex;
  private session: MuxSession | undefined;
  private readonly ended: (error: BridgeError) => void;
  private scheduled = false;
  private over = false;
  private held = false;

  /**
   * Call `start` once the session exists; the session's `writable` event must call `schedule`.
   * @param ended called once, with why the session is over; the stream is destroyed by then
   */
  constructor(stream: Duplex, ended: (error: BridgeError) => void) {
    this.stream = stream;
    this.ended = ended;
  }

  /** Begins to read and write. */
  start(session: MuxSession): void {
    this.session = session;
    const { stream } = this;
    stream.on('data', (chunk: Buffer) => this.receive(chunk));
    stream.on('drain', () => this.flush());
    stream.on('end', () => this.stop(new BridgeError('LINK_LOST', 'the peer closed the link')));
    stream.on('error', (error) =>
      this.stop(new BridgeError('LINK_LOST', `the link broke: ${messageOf(error)}`, { cause: error })),
    );
    stream.on('close', () => this.stop(new BridgeError('LINK_LOST', 'the link was closed')));
    stream.resume();
    this.flush();
  }

  /**
   * Asks for a flush at the end of this turn of the event loop: what several reads have brought leaves in one write,
   * which spares the peer wake-ups.
   */
  schedule(): void {
    if (this.scheduled || this.over) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.flush();
    });
  }

  /** While it is held nothing more is read from the peer. */
  hold(held: boolean): void {
    if (this.held === held || this.over) return;
    this.held = held;
    if (held) this.stream.pause();
    else this.schedule();
  }

  /**
   * Leaves the stream, paused, to somebody else. The session must have nothing to say and no frame half read, and is
   * not used again.
   * @throws BridgeError PROTOCOL when the peer has begun a frame
   */
  release(): void {
    const { stream, session } = this;
    this.over = true;
    stream.pause();
    for (const event of ['data', 'drain', 'end', 'error', 'close']) stream.removeAllListeners(event);
    stream.on('error', () => {}); // whoever has it now learns of it by reading
    if (session?.betweenFrames !== true)
      throw new BridgeError('PROTOCOL', 'the peer spoke before it was its turn');
  }

  /** Ends the session and the stream; every channel is reset. May be called twice. */
  stop(error: BridgeError): void {
    if (this.over) return;
    this.over = true;
    this.stream.destroy();
    this.session?.fail(ERRNO.ECONNABORTED);
    this.ended(error);
  }

  private receive(chunk: Buffer): void {
    if (this.over || this.session === undefined) return;
    try {
      this.session.receive(chunk);
    } catch (error) {
      this.stop(
        error instanceof BridgeError
          ? error
          : new BridgeError('PROTOCOL', `internal error on the link: ${messageOf(error)}`, { cause: error }),
      );
      return;
    }
    if (this.session.backlog > MAX_BACKLOG && this.stream.writableNeedDrain) this.stream.pause();
  }

  private flush(): void {
    const { session, stream } = this;
    if (session === undefined) return;
    while (!this.over && session.hasOutput && !stream.writableNeedDrain) {
      const buffers = session.take(BATCH_BYTES);
      stream.cork();
      for (const buffer of buffers) stream.write(buffer);
      stream.uncork();
    }
    if (!this.over && !this.held && stream.isPaused() && session.backlog <= MAX_BACKLOG) stream.resume();
  }
}
