import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { nodeErrno } from '../errors.ts';
import { fullBacklogErrno } from '../transport/choose.ts';

/** How often a socket is asked where a refusal may mean a full backlog, and milliseconds between two times. */
const TIMES = 10;
const PAUSE_MS = 100;

/**
 * Whether the kernel says that nobody listens at the path of a socket; on Linux a full backlog or a datagram socket
 * answers otherwise. Where a full backlog answers the same, it has to be so for a second: whoever still accepts makes
 * room meanwhile.
 * @param options.ask what connecting failed of, undefined where it did not; for tests, as the others are
 */
export async function nobodyListens(
  path: string,
  options: {
    readonly platform?: NodeJS.Platform;
    readonly pauseMs?: number;
    readonly ask?: (path: string) => Promise<string | undefined>;
  } = {},
): Promise<boolean> {
  const { platform, pauseMs = PAUSE_MS, ask = connectErrno } = options;
  let times = fullBacklogErrno(platform) === 'ECONNREFUSED' ? TIMES : 1;
  while ((await ask(path)) === 'ECONNREFUSED') {
    if (--times === 0) return true;
    await delay(pauseMs);
  }
  return false;
}

function connectErrno(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(undefined);
    });
    probe.once('error', (error) => resolve(nodeErrno(error) ?? 'EIO'));
  });
}
