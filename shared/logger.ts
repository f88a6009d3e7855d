import { type Logger as PinoLogger, pino } from 'pino';
import pretty from 'pino-pretty';

/** The only import of pino. Logs go to stderr: pretty on a terminal, one JSON object a line otherwise. */
export type Logger = PinoLogger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * @param program name that every line carries
 * @param level least severity that is written
 */
export function createLogger(program: string, level: LogLevel): Logger {
  const options = { level, base: { program, pid: process.pid } };
  if (process.stderr.isTTY) {
    return pino(options, pretty({ destination: 2, sync: true, colorize: true, ignore: 'pid,program' }));
  }
  return pino(options, pino.destination({ dest: 2, sync: true }));
}

/** A logger that writes nothing, for tests and for library use without one. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
