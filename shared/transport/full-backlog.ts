import { setTimeout as delay } from 'node:timers/promises';
import { nodeErrno } from '../errors.ts';

/**
 * Neither unix(7) nor vsock(7) has a queue for those who connect: where TCP would wait, a full backlog is an error at
 * once (EAGAIN; ECONNRESET), which passes as soon as the other side accepts. It is tried again this often, and for so
 * long, before it is believed; milliseconds.
 */
export const BACKLOG_RETRY_MS = 5;
export const BACKLOG_PATIENCE_MS = 2_000;

/**
 * Connects by node:net, again while the backlog of a unix socket is full.
 * @param attempt connects once; rejects with an error whose `cause` is the system's
 */
export async function whileBacklogIsFull<T>(attempt: () => Promise<T>): Promise<T> {
  const end = performance.now() + BACKLOG_PATIENCE_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const full = nodeErrno((error as { cause?: unknown }).cause) === 'EAGAIN';
      if (!full || performance.now() >= end) throw error;
    }
    await delay(BACKLOG_RETRY_MS);
  }
}
