import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { BridgeError, messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Libc } from '../platform/linux/libc.ts';

export const ENGINES = ['auto', 'portable', 'linux'] as const;
export type EnginePreference = (typeof ENGINES)[number];
export const MAX_WORKERS = 64;

export interface EngineOptions {
  readonly engine: EnginePreference;
  /** How many threads the Linux engine has; from the number of cores unless told. */
  readonly workers: number | undefined;
}

/** The threads of a running engine, for whoever wants to look at them. */
export interface EngineThreads {
  readonly threads: readonly Worker[];
  /** How often each has come out of its sleep. */
  readonly wakeUps: readonly number[];
}

/** What the Linux engine is started with. */
export interface LinuxEngineStart {
  readonly libc: Libc;
  readonly workers: number;
}

/**
 * Picks the engine that carries connections, and says in the log which and why.
 * @returns undefined for the portable engine
 * @throws BridgeError UNSUPPORTED when the Linux engine is insisted on and cannot be had
 */
export async function chooseEngine(
  options: EngineOptions,
  log: Logger,
): Promise<LinuxEngineStart | undefined> {
  const { engine } = options;
  const workers = options.workers ?? defaultWorkers(availableParallelism());
  if (engine === 'portable') {
    log.info({ engine: 'portable', why: 'asked for' }, 'connections are carried by the portable engine');
    return undefined;
  }
  const { platform } = process;
  if (engine === 'auto' && platform !== 'linux') {
    const why = `this is ${platform}`;
    log.info({ engine: 'portable', why }, 'connections are carried by the portable engine');
    return undefined;
  }
  try {
    if (platform !== 'linux') throw new BridgeError('UNSUPPORTED', `it is for Linux, not ${platform}`);
    const { loadLibc } = await import('../platform/linux/libc.ts');
    const libc = await loadLibc();
    const why = engine === 'linux' ? 'asked for' : 'it works here';
    log.info(
      { engine: 'linux', why, workers },
      `connections are carried by the Linux engine (${workers} workers)`,
    );
    return { libc, workers };
  } catch (error) {
    const why = messageOf(error);
    if (engine === 'linux')
      throw new BridgeError('UNSUPPORTED', `the Linux engine cannot be used: ${why}; --engine portable can`, {
        cause: error,
      });
    log.warn({ engine: 'portable', why }, `connections are carried by the portable engine: ${why}`);
    return undefined;
  }
}

/**
 * Two, where there are two cores: while one waits for the kernel the other goes on. Else half of the cores, since clients and
 * containers want the others; four saturate what one machine's sockets do.
 */
export function defaultWorkers(cores: number): number {
  return Math.max(Math.min(2, cores), Math.min(4, cores >> 1));
}

/** Checks the two options; the best that works is the default. @throws BridgeError BAD_REQUEST */
export function engineOptions(options: { engine?: string; workers?: string }): EngineOptions {
  const engine = options.engine ?? 'auto';
  if (!isEngine(engine))
    throw new BridgeError('BAD_REQUEST', `unknown engine "${engine}"; known are ${ENGINES.join(', ')}`);
  if (options.workers === undefined) return { engine, workers: undefined };
  const workers = Number(options.workers);
  if (!/^\d{1,2}$/.test(options.workers) || workers < 1 || workers > MAX_WORKERS)
    throw new BridgeError('BAD_REQUEST', `--workers ${options.workers}: from 1 to ${MAX_WORKERS}`);
  return { engine, workers };
}

function isEngine(text: string): text is EnginePreference {
  return (ENGINES as readonly string[]).includes(text);
}
