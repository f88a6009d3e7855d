/** Boots the guest whose host agent is outside, and runs groups of cases with it. */
import { Cases } from '../cases.ts';
import { type Counts, onceMore } from '../counts.ts';
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
export async function runOutside(groups: readonly Group[], options: VmOptions): Promise<Counts> {
  const sum = { passed: 0, failed: 0 };
  let vm: Vm | undefined;
  const run = async (group: Group): Promise<Counts | undefined> => {
    vm ??= new Vm(options);
    const cases = await runGroup(group, vm);
    if (!vm.stoodStill) return cases;
    await vm.close();
    vm = undefined;
    return undefined;
  };
  try {
    for (const group of groups) {
      const { passed, failed } = await onceMore(group, () => run(group));
      sum.passed += passed;
      sum.failed += failed;
    }
  } finally {
    await vm?.close();
  }
  return sum;
}

async function runGroup(group: Group, vm: Vm): Promise<Cases> {
  const cases = new Cases(group);
  const { run } = await FILES[group]();
  await cases.case(
    'the group runs to its end',
    () => vm.boot().then(() => run(cases, vm)),
    Number.POSITIVE_INFINITY,
  );
  return cases;
}
