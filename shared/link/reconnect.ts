import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { BridgeError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Dialer } from '../transport/transport.ts';
import type { Link } from './link.ts';

const FIRST_DELAY_MS = 50;
const MAX_DELAY_MS = 5_000;
/** While nobody has listened yet, the other side is probably still starting: look again soon. */
const MAX_DELAY_FIRST_LINK_MS = 500;
/** A link that was up for less is a failure too, so that one that is lost again and again is not dialled without end. */
const STEADY_MS = 2_000;

export interface ReconnectOptions {
  readonly dialer: Dialer;
  readonly establish: (stream: Duplex) => Promise<Link>;
  /** Uses the link; resolves when it is over. */
  readonly serve: (link: Link) => Promise<void>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Sleeps; rejects when the signal aborts. For tests. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

const sleep = (ms: number, signal: AbortSignal): Promise<void> => delay(ms, undefined, { signal });

/**
 * Keeps a link up by dialling: after a loss or a failure it dials again, with a jittered delay that doubles
 * to at most 5 s. Returns when the signal aborts. Of a run of failures, only the first and every change of
 * reason is a warning.
 */
export async function keepLinked(options: ReconnectOptions): Promise<void> {
  const { dialer, serve, log, signal, wait = sleep } = options;
  let failures = 0;
  let linked = false;
  let lastReason = '';
  /** It listens, but has not our token. */
  let strange = false;
  while (!signal.aborted) {
    try {
      const link = await established(await dialer.dial(signal), options);
      // Who stops has closed the links that it knew of; nobody would end this one.
      if (signal.aborted) return link.close();
      const begun = performance.now();
      lastReason = '';
      linked = true;
      await serve(link);
      failures = performance.now() - begun < STEADY_MS ? failures + 1 : 0;
    } catch (error) {
      if (signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      const level = reason === lastReason ? 'debug' : 'warn';
      const code = error instanceof BridgeError ? error.code : undefined;
      log[level]({ url: dialer.url, code }, `no link: ${reason}; trying again`);
      lastReason = reason;
      strange = code === 'AUTH_FAILED';
      failures++;
    }
    const most = linked || strange ? MAX_DELAY_MS : MAX_DELAY_FIRST_LINK_MS;
    const base = Math.min(most, FIRST_DELAY_MS * 2 ** Math.min(failures, 10));
    await wait(base * (0.5 + Math.random() / 2), signal).catch(() => {});
  }
}

/** Where a transport refuses by ending the stream, a stream that ends at once says so. */
async function established(stream: Duplex, { dialer, establish }: ReconnectOptions): Promise<Link> {
  try {
    return await establish(stream);
  } catch (error) {
    if (dialer.refusal === undefined || !(error instanceof BridgeError) || error.code !== 'LINK_LOST')
      throw error;
    throw new BridgeError('NO_LINK', `cannot connect to ${dialer.url}: ${dialer.refusal}`, { cause: error });
  }
}
