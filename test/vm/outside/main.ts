/** Boots the guest whose host agent is outside, and runs groups of cases with it. */
import { Cases } from '../cases.ts';
import type { OUTSIDE } from '../groups.ts';
import { Vm, type VmOptions } from './vm.ts';

type Group = (typeof OUTSIDE)[number];

const FILES: Record<Group, () => Promise<{ run(cases: Cases, vm: Vm): Promise<void> }>> = {
  serial: () => import('./serial.ts'),
  docker: () => import('./docker.ts'),
  podman: () => import('./podman.ts'),
  paused: () => import('./paused.ts'),
};

/** @returns how many cases passed and failed */
export async function runOutside(
  groups: readonly Group[],
  options: VmOptions,
): Promise<{ passed: number; failed: number }> {
  const vm = await Vm.boot(options);
  const counts = { passed: 0, failed: 0 };
  try {
    for (const group of groups) {
      const cases = new Cases(group);
      const { run } = await FILES[group]();
      await cases.case('the group runs to its end', () => run(cases, vm), Number.POSITIVE_INFINITY);
      counts.passed += cases.passed;
      counts.failed += cases.failed;
    }
  } finally {
    await vm.close();
  }
  return counts;
}
