import type { Network } from './network.ts';

/** How long a load may take beyond its seconds, milliseconds. */
export const GRACE_MS = 10_000;

/**
 * Starts a load and serves the network until it calls `stop`.
 * @throws Error when that was with a reason, or does not happen in time
 */
export async function runUntil(
  network: Network,
  seconds: number,
  start: (stop: (why?: string) => void) => void,
): Promise<void> {
  let failure: string | undefined;
  const stop = (why?: string) => {
    failure ??= why;
    network.stop();
  };
  const limit = seconds * 1000 + GRACE_MS;
  network.after(limit, () => stop(`not done after ${limit / 1000} s`));
  start(stop);
  await network.run();
  if (failure !== undefined) throw new Error(failure);
}
