/** What the programs use, sampled while all comes and goes, and whether it stays the same. */
import { descriptorKinds } from '../helpers/bound-ports.ts';
import { mib, residentBytes } from '../helpers/process-figures.ts';

export interface Sample {
  readonly memory: number;
  readonly descriptors: number;
}

/** By how much the last third may lie above the one before it: memory of Node comes and goes with its collector. */
export const TOLERANCE = { share: 0.15, bytes: 24 * 1024 * 1024, descriptors: 8 };

export function sample(pid: number): Sample {
  const { sockets, others } = descriptorKinds(pid);
  return { memory: residentBytes(pid), descriptors: sockets + others };
}

/** What a third of the time was like: the median of memory; descriptors are counted when nothing goes on. */
export function medianMemory(samples: readonly Sample[]): number {
  const sorted = samples.map(({ memory }) => memory).sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

/**
 * Compares two stretches of one length, both behind the warm-up.
 * @returns figures for people @throws Error when there is more memory in the second than the tolerance allows
 */
export function compareMemory(name: string, samples: readonly Sample[]): string {
  const third = Math.floor(samples.length / 3);
  const [before, after] = [samples.slice(third, 2 * third), samples.slice(2 * third)].map(medianMemory) as [
    number,
    number,
  ];
  const most = Math.max(...samples.map(({ memory }) => memory));
  const allowed = before + Math.max(TOLERANCE.bytes, before * TOLERANCE.share);
  const said = `${name} ${mib(before)} -> ${mib(after)}, at most ${mib(most)}`;
  if (after > allowed) throw new Error(`memory grows: ${said}; ${mib(allowed)} is allowed`);
  return said;
}
