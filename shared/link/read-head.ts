import type { Duplex } from 'node:stream';
import { BridgeError, messageOf } from '../errors.ts';

export interface HeadOptions {
  /** What is read, for error texts ("handshake"). */
  readonly what: string;
  /** More bytes than this without a result are refused. */
  readonly maxBytes: number;
  /** Infinity for a stream that may say nothing for as long as it likes. */
  readonly timeoutMs: number;
  /** Gives up; without it the caller gives up by destroying the stream. */
  readonly signal?: AbortSignal;
}

/**
 * Reads what stands at the start of a stream and leaves the stream paused, with every byte behind it
 * put back. One read is never taken for one message.
 * @param parse called with all bytes so far; answers undefined while it needs more
 * @throws BridgeError PROTOCOL, TIMEOUT, CANCELLED, or LINK_LOST when the stream ends first; what `parse`
 *   throws is passed on. The stream is not closed: that is the caller's.
 */
export function readHead<T>(
  stream: Duplex,
  parse: (bytes: Buffer) => { value: T; used: number } | undefined,
  options: HeadOptions,
): Promise<T> {
  const { what, maxBytes, timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.alloc(0);
    const settle = (): void => {
      clearTimeout(timer);
      stream.pause();
      stream.removeListener('data', onData);
      stream.removeListener('end', onEnd);
      stream.removeListener('error', onError);
      stream.removeListener('close', onEnd);
      signal?.removeEventListener('abort', onAbort);
    };
    const fail = (error: unknown): void => {
      settle();
      stream.on('error', () => {}); // the caller closes it; a late error adds nothing
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      let result: { value: T; used: number } | undefined;
      try {
        result = parse(bytes);
      } catch (error) {
        return fail(error);
      }
      if (result === undefined) {
        if (bytes.length > maxBytes) fail(new BridgeError('PROTOCOL', `${what} of over ${maxBytes} bytes`));
        return;
      }
      settle();
      if (result.used < bytes.length) stream.unshift(bytes.subarray(result.used));
      resolve(result.value);
    };
    const onEnd = (): void => fail(new BridgeError('LINK_LOST', `the other side closed before its ${what}`));
    const onError = (error: Error): void =>
      fail(
        new BridgeError('LINK_LOST', `the stream broke before the ${what}: ${messageOf(error)}`, {
          cause: error,
        }),
      );
    const onAbort = (): void => fail(new BridgeError('CANCELLED', `reading the ${what} was cancelled`));
    const timer =
      timeoutMs === Number.POSITIVE_INFINITY
        ? undefined
        : setTimeout(
            () => fail(new BridgeError('TIMEOUT', `no ${what} within ${timeoutMs / 1000} s`)),
            timeoutMs,
          );
    if (signal?.aborted) return onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    stream.on('data', onData);
    stream.on('end', onEnd);
    stream.on('close', onEnd);
    stream.on('error', onError);
    if (stream.destroyed) return onEnd();
    stream.resume();
  });
}
