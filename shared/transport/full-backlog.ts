import { setTimeout as delay } from 'node:timers/promises';
import { nodeErrno } from '../errors.ts';
import { fullBacklogErrno } from './choose.ts';

/**
 * Neither unix(7) nor vsock(7) has a queue for those who connect: where TCP would wait, a full backlog is an error at
 * once (EAGAIN; ECONNRESET), which passes as soon as the other side accepts. It is tried again this often, and for so
 * long, before it is believed; milliseconds.
 */
export const BACKLOG_RETRY_MS = 5;
export const BACKLOG_PATIENCE_MS = 2_000;
/** How often more where the same error says that nobody listens, which has to be told soon. */
const TRIES_AFTER_REFUSAL = 30;

/**
 * Connects by node:net, again while the backlog of a unix socket is full.
 * @param path of the unix socket or named pipe; undefined for TCP, whose refusals are final
 * @param attempt connects once; rejects with an error whose `cause` is the system's
 * @param platform for tests
 */
export async function whileBacklogIsFull<T>(
  path: string | undefined,
  attempt: () => Promise<T>,
  platform?: NodeJS.Platform,
): Promise<T> {
  const end = performance.now() + BACKLOG_PATIENCE_MS;
  for (let refusals = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      const errno = nodeErrno((error as { cause?: unknown }).cause);
      const mayBeFull =
        errno === 'EAGAIN'
          ? performance.now() < end
          : path !== undefined && errno === fullBacklogErrno(platform) && ++refusals <= TRIES_AFTER_REFUSAL;
      if (!mayBeFull) throw error;
    }
    await delay(BACKLOG_RETRY_MS);
  }
}
