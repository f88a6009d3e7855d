import type { Socket } from 'node:net';
import { BridgeError, messageOf } from '../errors.ts';
import type { End, EndHandler } from './end.ts';

/** How a kind of stream says what a plain byte stream cannot. */
export interface StreamPolicy {
  /** Sends "the other side was reached", where the stream has such a message. */
  accept?(socket: Socket): void;
  /** Refuses; without it a refusal is an abort. The policy destroys the socket in the end. */
  refuse?(socket: Socket, reason: BridgeError): void;
  /**
   * Whether a peer that closes both directions at once has aborted. If so, an end of stream is probed: an
   * empty write fails when the other direction is gone as well.
   */
  probesEnd(socket: Socket): boolean;
  /** Whether an end of stream is a true end; without it every end is. */
  confirmEnd?(): Promise<boolean>;
  /** Aborts, so that the peer sees a reset; destroys the socket, now or later. */
  abort(socket: Socket, reason: BridgeError): void;
}

/**
 * A client's or container's socket: TCP has a reset of its own; a unix socket is just closed. libuv before
 * 1.52 (Node 20) reports a reset that arrives together with data as an end (POLLHUP after a partial read, in
 * uv__stream_io), hence the probe on TCP: a TCP socket takes an empty write unless it was reset.
 */
export const PLAIN_SOCKET: StreamPolicy = {
  probesEnd: isTcp,
  abort(socket) {
    // Socket.resetAndDestroy (RST instead of FIN) is for TCP handles only, and fails while libuv is in the
    // middle of a shutdown, which it is for one turn of the loop after an end (see StreamEnd.end).
    if (!isTcp(socket)) socket.destroy();
    else if (socket.writableEnded && !socket.writableFinished)
      socket.once('finish', () => socket.resetAndDestroy());
    else socket.resetAndDestroy();
  },
};

/** By its own address: that of its peer cannot be asked for once it was reset (ENOTCONN). */
function isTcp(socket: Socket): boolean {
  return socket.localFamily !== undefined;
}

const EMPTY = Buffer.alloc(0);

/** An end over a Node socket that was made with `allowHalfOpen`. It owns the socket. */
export class StreamEnd implements End {
  private readonly socket: Socket;
  private readonly policy: StreamPolicy;
  private handler: EndHandler | undefined;
  private failure: BridgeError | undefined;
  private isClosed = false;
  /** An end of stream was read and is being looked into; what the socket says meanwhile waits. */
  private confirming = false;
  private endWanted = false;
  /** We gave up on it, or it on us: nothing more is said but `closed`. */
  private over = false;

  constructor(socket: Socket, policy: StreamPolicy) {
    this.socket = socket;
    this.policy = policy;
    socket.pause();
    socket.on('error', (error) =>
      this.fail(new BridgeError('RESET', `the connection broke: ${messageOf(error)}`, { cause: error })),
    );
    socket.on('close', () => this.close());
  }

  attach(handler: EndHandler): void {
    this.handler = handler;
    const { socket } = this;
    socket.on('data', (chunk: Buffer) => {
      if (!this.over) handler.data(chunk);
    });
    socket.on('drain', () => {
      if (!this.over) handler.drained();
    });
    socket.on('end', () => this.ended());
    if (this.failure !== undefined) handler.reset(this.failure);
    if (this.isClosed) handler.closed();
    else if (!this.over) socket.read(0); // reads one buffer ahead while paused, else a reset would not be noticed
  }

  accept(): void {
    this.policy.accept?.(this.socket);
  }

  refuse(reason: BridgeError): void {
    if (this.policy.refuse === undefined) return this.reset(reason);
    if (this.over) return;
    this.over = true;
    this.policy.refuse(this.socket, reason);
  }

  write(chunk: Buffer): boolean {
    const { socket } = this;
    if (this.over) return true;
    // What one read of a link brings in several frames leaves in one write.
    if (socket.writableCorked === 0) {
      socket.cork();
      process.nextTick(uncork, socket);
    }
    return socket.write(chunk, this.wrote);
  }

  /** The socket is told only when its queue is empty: a shutdown that waits in libuv would forbid a reset. */
  end(): void {
    this.endWanted = true;
    this.wrote();
  }

  reset(reason: BridgeError): void {
    if (this.over) return;
    this.over = true;
    this.policy.abort(this.socket, reason);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  get backlog(): number {
    return this.socket.writableLength;
  }

  /** The peer has aborted it, as somebody else learnt. */
  aborted(error: BridgeError): void {
    this.fail(error);
    this.socket.destroy();
  }

  private readonly wrote = (): void => {
    if (this.endWanted && !this.over && this.socket.writableLength === 0) this.socket.end();
  };

  /** The end of stream was read. A write that waits finds an abort by itself, so only an idle stream is probed. */
  private ended(): void {
    const { socket, policy } = this;
    if (this.over) return;
    if (socket.writableEnded || socket.writableLength > 0 || !policy.probesEnd(socket)) return this.confirm();
    socket.write(EMPTY, (error) => {
      if (error === null || error === undefined) this.confirm();
    });
  }

  private confirm(): void {
    if (this.over) return;
    if (this.policy.confirmEnd === undefined) {
      this.handler?.ended();
      return;
    }
    this.confirming = true;
    void this.policy.confirmEnd().then((trueEnd) => {
      this.confirming = false;
      if (!this.over && trueEnd) this.handler?.ended();
      else if (!trueEnd)
        this.aborted(new BridgeError('RESET', 'the other side went away in the middle of the stream'));
      if (this.isClosed) this.close();
    });
  }

  private fail(error: BridgeError): void {
    if (this.over) return;
    this.over = true;
    this.failure = error;
    this.handler?.reset(error);
  }

  private close(): void {
    this.isClosed = true;
    if (this.confirming) return;
    this.over = true;
    this.handler?.closed();
  }
}

function uncork(socket: Socket): void {
  socket.uncork();
}
