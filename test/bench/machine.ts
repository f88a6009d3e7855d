import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, type } from 'node:os';

/** What figures were measured on. */
export function describeMachine(driver: string): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  return `${availableParallelism()} cores (${model}), ${distribution()}${type()} ${release()}, Node ${process.versions.node}, load by ${driver}`;
}

/** From this share on the machine is too busy for figures to mean much. */
export const BUSY = 0.15;

/** The share of all cores that is in use over a moment, milliseconds. */
export async function busyShare(ms: number): Promise<number> {
  const before = times();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const after = times();
  return 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all);
}

/** Load average over the last minute, a core. */
export function loadPerCore(): number {
  return loadavg()[0]! / availableParallelism();
}

function times(): { idle: number; all: number } {
  let [idle, all] = [0, 0];
  for (const { times: each } of cpus()) {
    idle += each.idle;
    all += each.idle + each.user + each.nice + each.sys + each.irq;
  }
  return { idle, all };
}

function distribution(): string {
  try {
    const name = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
    return name === undefined ? '' : `${name}, `;
  } catch {
    return '';
  }
}
