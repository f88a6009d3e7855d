import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Memory that a process has in RAM, bytes. */
export function residentBytes(pid: number): number {
  try {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    if (kib !== undefined) return Number(kib) * 1024;
  } catch {
    // no /proc on this system
  }
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) * 1024;
}

/** How many descriptors a process has open; undefined where there is no /proc. */
export function descriptorCount(pid: number): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return undefined;
  }
}

/** Processor time that a process has used, user and system, seconds; USER_HZ is 100 on every Linux (proc(5)). */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/**
 * Leaves a running process `spare` more descriptors than it has.
 * @returns why that cannot be done here
 */
export function limitDescriptors(pid: number, spare: number): string | undefined {
  const open = descriptorCount(pid);
  if (open === undefined) return NO_PROC;
  try {
    const limit = open + spare;
    execFileSync('prlimit', ['--pid', String(pid), `--nofile=${limit}:${limit}`], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `prlimit cannot be used here: ${(error as Error).message}`;
  }
}

export const NO_PROC = 'descriptors were not counted: this system has no /proc';

/** Bytes as MiB for the figures that a test prints. */
export function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
