import { resolve } from 'node:path';
import type { LogLevel } from '../shared/log-levels.ts';
import { createLogger } from '../shared/logger.ts';
import { readSettings } from '../shared/settings/read-settings.ts';
import { NO_SETTINGS } from '../shared/settings/settings.ts';
import { startAgent } from './agent.ts';
import { type HostConfig, type HostOptions, hostConfig } from './config.ts';
import { reloadPolicy } from './reload.ts';
import { HOST_SCHEMA } from './schema.ts';

/**
 * `portferry host-agent`, until a signal ends it.
 * @throws BridgeError as reading the configuration and startAgent do
 */
export async function runHostAgent(
  given: HostOptions & { config?: string; logLevel?: LogLevel },
  signalled: Promise<string>,
): Promise<void> {
  const file = given.config === undefined ? undefined : resolve(given.config);
  const read = (): HostConfig =>
    hostConfig(given, file === undefined ? NO_SETTINGS : readSettings(file, HOST_SCHEMA));
  const config = read();
  const logLevel = given.logLevel ?? (config.settings.text('log-level') as LogLevel | undefined);
  const log = createLogger('host-agent', logLevel ?? 'info');
  const agent = await startAgent(config, log);
  const stopReloading = file === undefined ? undefined : reloadPolicy({ file, config, read, agent, log });
  log.info(`stopping on ${await signalled}`);
  stopReloading?.();
  await agent.close();
}
