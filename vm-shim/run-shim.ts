import type { LogLevel } from '../shared/log-levels.ts';
import { createLogger } from '../shared/logger.ts';
import { readSettings } from '../shared/settings/read-settings.ts';
import { NO_SETTINGS } from '../shared/settings/settings.ts';
import { type ShimOptions, shimConfig } from './config.ts';
import { SHIM_SCHEMA } from './schema.ts';
import { startShim } from './shim.ts';

/**
 * `portferry vm-shim`, until a signal or the end of its only link ends it.
 * @throws BridgeError as reading the configuration and startShim do
 */
export async function runShim(
  given: ShimOptions & { config?: string; logLevel?: LogLevel },
  signalled: Promise<string>,
): Promise<void> {
  const settings = given.config === undefined ? NO_SETTINGS : readSettings(given.config, SHIM_SCHEMA);
  const config = shimConfig(given, settings);
  const log = createLogger('vm-shim', given.logLevel ?? (settings.text('log-level') as LogLevel) ?? 'info');
  const shim = await startShim(config, log);
  try {
    const why = await (shim.ended === undefined ? signalled : Promise.race([signalled, shim.ended]));
    log.info(why === undefined ? 'stopping: the host agent has closed the link' : `stopping on ${why}`);
  } finally {
    await shim.close();
  }
}
