/** What the programs use, sampled while all comes and goes, and whether it stays the same. */
import { descriptorKinds } from '../helpers/bound-ports.ts';
import { median } from '../helpers/median.ts';
import { mib, residentBytes } from '../helpers/process-figures.ts';

export interface Sample {
  /** When, milliseconds (performance.now()). */
  readonly at: number;
  readonly memory: number;
  readonly descriptors: number;
}

/** By how much the last third may lie above the one before it: memory of Node comes and goes with its collector. */
export interface Tolerance {
  readonly share: number;
  readonly bytes: number;
}

/** Descriptors at rest, over what there were at first. */
export const MORE_DESCRIPTORS = 8;
/** From here on the collector has found its sizes before the first third ends, seconds of one lane and engine. */
const LONG_S = 100;
/** Pairs of samples that the slope is the median of. */
const SLOPE_POINTS = 200;
const MINUTE_MS = 60_000;

/** @param seconds how long one lane and engine runs */
export function toleranceOf(seconds: number): Tolerance {
  return seconds >= LONG_S
    ? { share: 0.1, bytes: 12 * 1024 * 1024 }
    : { share: 0.15, bytes: 24 * 1024 * 1024 };
}

export function sample(pid: number): Sample {
  const { sockets, others } = descriptorKinds(pid);
  return { at: performance.now(), memory: residentBytes(pid), descriptors: sockets + others };
}

/**
 * Compares the last two thirds of what was sampled behind the warm-up.
 * @returns figures for people @throws Error when there is more memory in the last than the tolerance allows
 */
export function compareMemory(name: string, samples: readonly Sample[], tolerance: Tolerance): string {
  if (samples.length < 3) throw new Error(`${name}: ${samples.length} samples are too few to compare`);
  const third = Math.floor(samples.length / 3);
  const before = medianMemory(samples.slice(third, 2 * third));
  const after = medianMemory(samples.slice(2 * third));
  const most = Math.max(...samples.map(({ memory }) => memory));
  const allowed = before + Math.max(tolerance.bytes, before * tolerance.share);
  const kib = (slopeOf(samples) / 1024).toFixed(0);
  const said = `${name} ${mib(before)} -> ${mib(after)} (${kib} KiB a minute), at most ${mib(most)}`;
  if (after > allowed) throw new Error(`memory grows: ${said}; ${mib(allowed)} is allowed`);
  return said;
}

/** How memory grows, bytes a minute: the median of the slopes between any two of some samples (Theil and Sen). */
export function slopeOf(samples: readonly Sample[]): number {
  const step = Math.max(1, Math.ceil(samples.length / SLOPE_POINTS));
  const some = samples.filter((_, index) => index % step === 0);
  const slopes = some.flatMap((from, index) =>
    some.slice(index + 1).map((to) => ((to.memory - from.memory) / (to.at - from.at)) * MINUTE_MS),
  );
  return median(slopes);
}

function medianMemory(samples: readonly Sample[]): number {
  return median(samples.map(({ memory }) => memory));
}
