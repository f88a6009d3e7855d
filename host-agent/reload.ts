import { messageOf } from '../shared/errors.ts';
import type { Logger } from '../shared/logger.ts';
import { onWindows } from '../shared/platform/choose.ts';
import { WatchedFile } from '../shared/settings/watch-file.ts';
import type { Agent } from './agent.ts';
import type { HostConfig } from './config.ts';

export interface ReloadOptions {
  /** Absolute path of the configuration file. */
  readonly file: string;
  /** What the host agent was started with. */
  readonly config: HostConfig;
  /** Reads and checks it. @throws BridgeError BAD_REQUEST, NOT_FOUND, PERMISSION_DENIED or IO */
  readonly read: () => HostConfig;
  readonly agent: Pick<Agent, 'enforce'>;
  readonly log: Logger;
}

/**
 * Has the policy of the file hold from now on, whenever the file changes and on SIGHUP, which on
 * Windows ends the program instead. A file that is wrong changes nothing. @returns what ends it
 */
export function reloadPolicy({ file, config, read, agent, log }: ReloadOptions): () => void {
  const started = withoutPolicy(config);
  const changed = async (): Promise<void> => {
    try {
      const now = read();
      await agent.enforce(now);
      log.info({ file }, 'the policy was read again');
      if (withoutPolicy(now) !== started)
        log.warn({ file }, 'more than the policy has changed: the rest needs a restart of the host agent');
    } catch (error) {
      log.error({ file }, `the configuration is wrong, and the policy stays as it was: ${messageOf(error)}`);
    }
  };
  const otherwise = onWindows ? 'a restart reads it again' : 'SIGHUP still reads it again';
  const watched = new WatchedFile({ file, changed, otherwise, log });
  if (onWindows) return () => watched.close();
  const onSignal = (): void => watched.now();
  process.on('SIGHUP', onSignal);
  return () => {
    process.off('SIGHUP', onSignal);
    watched.close();
  };
}

function withoutPolicy({ settings, links, ...rest }: HostConfig): string {
  return JSON.stringify([[...links], settings.text('log-level'), rest]);
}
