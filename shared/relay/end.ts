import type { BridgeError } from '../errors.ts';

/** What one end of a connection tells its owner. */
export interface EndHandler {
  data(chunk: Buffer): void;
  /** This end will send no more; said behind its last byte. */
  ended(): void;
  /** This end was aborted. Nothing but `closed` follows. */
  reset(error: BridgeError): void;
  /** After `write` answered false: there is room again. */
  drained(): void;
  /** The resources of this end are gone; said once, last. */
  closed(): void;
}

/** For an end that nobody needs any more. */
export const NOBODY: EndHandler = { data() {}, ended() {}, reset() {}, drained() {}, closed() {} };

/**
 * One end of a connection: a client's or container's socket, a dedicated stream, or a mux channel. It
 * starts paused. Its owner releases it by `end` on both directions, `refuse` or `reset`; then `closed` follows.
 */
export interface End {
  /** Connects it to its owner; it stays paused until `resume`. */
  attach(handler: EndHandler): void;
  /** Tells the peer that the other side was reached. Nothing where there is no such message. */
  accept(): void;
  /** Tells the peer why the other side was not reached, and ends. A plain socket is reset. */
  refuse(reason: BridgeError): void;
  /** @returns false when the caller should stop until `drained` */
  write(chunk: Buffer): boolean;
  /** Half-closes behind the last byte written. */
  end(): void;
  /** Aborts both directions, so that the peer sees a reset and not an end. */
  reset(reason: BridgeError): void;
  pause(): void;
  resume(): void;
  /** Bytes written and not yet handed on. */
  readonly backlog: number;
}
