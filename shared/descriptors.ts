import { readFileSync } from 'node:fs';
import type { Logger } from './logger.ts';

/** Descriptors that a process needs besides those of its connections. */
const RESERVE = 256;

/**
 * How many connections the process can carry: at most `wanted`, and no more than its descriptors allow. Running
 * out of descriptors must not be how a limit is found: libuv then closes waiting clients with a clean end
 * (uv__emfile_trick) and tells nobody.
 * @param each descriptors that one connection takes
 */
export function connectionLimit(wanted: number, each: number, log: Logger): number {
  const open = openFilesLimit();
  if (open === undefined) return wanted;
  const able = Math.max(16, Math.floor((open - RESERVE) / each));
  if (able >= wanted) return wanted;
  log.info(
    { openFiles: open, connections: able },
    `at most ${able} connections instead of ${wanted}: the process may open ${open} files (raise it with ulimit -n)`,
  );
  return able;
}

/**
 * RLIMIT_NOFILE as Node has raised it; undefined where there is none (Windows) or it is unlimited. /proc is
 * read first because a diagnostic report takes a quarter of a second.
 */
function openFilesLimit(): number | undefined {
  try {
    const line = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return line === null ? undefined : Number(line[1]);
  } catch {
    const report = process.report?.getReport() as { userLimits?: { open_files?: { soft?: unknown } } };
    const soft = report?.userLimits?.open_files?.soft;
    return typeof soft === 'number' ? soft : undefined;
  }
}
