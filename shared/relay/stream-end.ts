import type { Socket } from 'node:net';
import { BridgeError, messageOf } from '../errors.ts';
import type { End, EndHandler } from './end.ts';

/** How a kind of stream says what a plain byte stream cannot. */
export interface StreamPolicy {
  /** Sends "the other side was reached", where the stream has such a message. */
  accept?(socket: Socket): void;
  /** Refuses; without it a refusal is an abort. The policy destroys the socket in the end. */
  refuse?(socket: Socket, reason: BridgeError): void;
  /** Whether an end of stream is a true end; without it every end is. */
  confirmEnd?(): Promise<boolean>;
  /** Aborts, so that the peer sees a reset; destroys the socket, now or later. */
  abort(socket: Socket, reason: BridgeError): void;
}

/** A client's or container's socket: TCP has a reset of its own; a unix socket is just closed. */
export const PLAIN_SOCKET: StreamPolicy = {
  abort(socket) {
    // Socket.resetAndDestroy (RST instead of FIN) is for TCP handles only.
    if (socket.remoteFamily === undefined) socket.destroy();
    else socket.resetAndDestroy();
  },
};

/** An end over a Node socket that was made with `allowHalfOpen`. It owns the socket. */
export class StreamEnd implements End {
  private readonly socket: Socket;
  private readonly policy: StreamPolicy;
  private handler: EndHandler | undefined;
  private failure: BridgeError | undefined;
  private isClosed = false;
  private closeSaid = false;
  /** Whether its end was a true one is being found out. */
  private confirming = false;
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
    this.sayClosed();
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
    return this.over || this.socket.write(chunk);
  }

  end(): void {
    if (!this.over) this.socket.end();
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

  private ended(): void {
    if (this.over) return;
    if (this.policy.confirmEnd === undefined) {
      this.handler?.ended();
      return;
    }
    this.confirming = true;
    void this.policy.confirmEnd().then((trueEnd) => {
      this.confirming = false;
      if (!this.over && trueEnd) this.handler?.ended();
      else if (!this.over)
        this.aborted(new BridgeError('RESET', 'the other side went away in the middle of the stream'));
      this.sayClosed();
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
    if (!this.confirming) this.over = true;
    this.sayClosed();
  }

  /** Node closes a socket as soon as both its directions have ended, which may be before the end is confirmed. */
  private sayClosed(): void {
    if (!this.isClosed || this.closeSaid || this.handler === undefined || (this.confirming && !this.over))
      return;
    this.over = true;
    this.closeSaid = true;
    this.handler.closed();
  }
}
