/** What every command of `portferry` shares: exit codes, the error line, and waiting for the end. */
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { ENGINES } from './engine/choose.ts';
import { BridgeError, type ErrorCode, textWithCode } from './errors.ts';
import { LOG_LEVELS } from './log-levels.ts';
import { onWindows } from './platform/choose.ts';
import { apiClientPath } from './transport/api-address.ts';

export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

const USAGE_CODES: readonly ErrorCode[] = ['BAD_SPEC', 'BAD_REQUEST'];

/** The option that every long-running command has. */
export function logLevelOption(): Option {
  return new Option('--log-level <level>', 'least severity that is logged, to stderr')
    .choices([...LOG_LEVELS])
    .default('info');
}

/** Which engine carries connections, on both sides. */
export function engineOption(): Option {
  return new Option('--engine <engine>', 'what carries connections; auto takes the best that works')
    .choices([...ENGINES])
    .default('auto');
}

export function workersOption(): Option {
  return new Option(
    '--workers <number>',
    'threads of the Linux engine; from the number of cores unless told',
  ).argParser(once);
}

/** How soon each side notices that the other is dead. */
export function heartbeatOption(): Option {
  return new Option(
    '--heartbeat <seconds>',
    'how often the other side is asked whether it is there; silent for three times as long, it is dead (default: 10)',
  ).argParser(once);
}

/** What takes the place of a unix socket's path where there are none. */
export const PIPE = 'on Windows a pipe: npipe:////./pipe/NAME';

/** The option that every client of the API has. `apiPath` reads it. */
export function apiOption(): Option {
  return new Option('--api <path>', `unix socket of the host agent's API (${PIPE})`)
    .env('PORTFERRY_API')
    .argParser(once);
}

/**
 * Where a client of the API connects to, as node:net takes it.
 * @param given what `apiOption` was given, by whichever way
 * @throws BridgeError BAD_REQUEST where that is nothing, or what this system has not
 */
export function apiPath(given: string | undefined): string {
  if (given !== undefined && given !== '') return apiClientPath(given);
  throw new BridgeError(
    'BAD_REQUEST',
    `give --api <path>, or set PORTFERRY_API: the unix socket that host-agent --api serves (${PIPE})`,
  );
}

/** A TOML file that says what options say, and more. */
export function configOption(): Option {
  return new Option('--config <file>', 'read this TOML file as well; options win over it').argParser(once);
}

/** The options that somebody gave, without those that stand at their default. */
export function givenOptions<T extends object>(command: Command): Partial<T> {
  const given = Object.entries(command.opts()).filter(
    ([name]) => command.getOptionValueSource(name) !== 'default',
  );
  return Object.fromEntries(given) as Partial<T>;
}

/** Collects an option that may repeat. */
export function repeat(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/**
 * Takes an option that may be given once: else the last one would win, and nobody would hear of the others. Not for one that
 * has a default, which comes as `before`.
 * @throws InvalidArgumentError when it was given before
 */
export function once(value: string, before?: string): string {
  if (before !== undefined) throw new InvalidArgumentError(`It was given before, as '${before}'.`);
  return value;
}

/** Says on stderr what went wrong and gives the exit code for it: 2 for wrong usage, 1 for the rest. */
export function reportError(command: Command | string, error: unknown): number {
  const name = typeof command === 'string' ? command : command.name();
  const code = error instanceof BridgeError ? error.code : undefined;
  const detail = code === undefined && error instanceof Error ? error.stack : textWithCode(error);
  process.stderr.write(`portferry ${name}: ${detail}\n`);
  return code !== undefined && USAGE_CODES.includes(code) ? EXIT.usage : EXIT.failed;
}

/** On Windows a console that is closed is a SIGHUP, and ends the process by itself within 10 s (process, "Signal events"). */
const ENDING: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  ...(onWindows ? (['SIGHUP', 'SIGBREAK'] as const) : []),
];

/** Resolves at the first signal that ends a program; a second one ends the process at once. */
export function untilSignalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let first = true;
    for (const signal of ENDING) {
      process.on(signal, () => {
        if (!first) process.exit(EXIT.failed);
        first = false;
        resolve(signal);
      });
    }
  });
}
