import { createRequire } from 'node:module';
import { type Logger as PinoLogger, pino } from 'pino';
import type { LogLevel } from './log-levels.ts';

/** The only import of pino. Logs go to stderr: pretty on a terminal, one JSON object a line otherwise. */
export type Logger = PinoLogger;

/**
 * @param program name that every line carries
 * @param level least severity that is written
 */
export function createLogger(program: string, level: LogLevel): Logger {
  const options = { level, base: { program, pid: process.pid } };
  if (process.stderr.isTTY) {
    // Loaded only where somebody looks: it takes as long as all of pino.
    const pretty = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
    return pino(options, pretty({ destination: 2, sync: true, colorize: true, ignore: 'pid,program' }));
  }
  return pino(options, pino.destination({ dest: 2, sync: true }));
}

/** A logger that writes nothing, for tests and for library use without one. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
