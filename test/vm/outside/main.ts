/** Boots the guest whose host agent is outside, and runs groups of cases with it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootGuest, type GuestOptions } from '../boot.ts';
import { Cases } from '../cases.ts';
import type { OUTSIDE } from '../groups.ts';
import { LINK_PORT, ORDERS_PORT } from './guest-script.ts';
import { GuestShell } from './guest-shell.ts';
import type { Vm } from './serial-pair.ts';

type Group = (typeof OUTSIDE)[number];

const FILES: Record<Group, () => Promise<{ run(cases: Cases, vm: Vm): Promise<void> }>> = {
  serial: () => import('./serial.ts'),
  docker: () => import('./docker.ts'),
  podman: () => import('./podman.ts'),
};

/** @returns how many cases passed and failed */
export async function runOutside(
  groups: readonly Group[],
  options: Omit<GuestOptions, 'onLine'>,
): Promise<{ passed: number; failed: number }> {
  // Not in the cache's folder: the path of a socket may have 107 bytes only.
  const folder = mkdtempSync(join(tmpdir(), 'portferry-vm-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  const linkSocket = join(folder, 'link');
  const orders = join(folder, 'orders');
  const guest = bootGuest({
    ...options,
    onLine: () => {},
    ports: [
      { name: LINK_PORT, socket: linkSocket },
      { name: ORDERS_PORT, socket: orders },
    ],
    reboots: true,
  });
  const counts = { passed: 0, failed: 0 };
  try {
    const shell = await GuestShell.connect(orders);
    await shell.booted(1);
    for (const group of groups) {
      const cases = new Cases(group);
      const { run } = await FILES[group]();
      const vm = { shell, linkSocket };
      await cases.case('the group runs to its end', () => run(cases, vm), Number.POSITIVE_INFINITY);
      counts.passed += cases.passed;
      counts.failed += cases.failed;
    }
  } catch (error) {
    guest.stop();
    console.log((await guest.ended).console.slice(-40).join('\n'));
    throw error;
  } finally {
    guest.stop();
    await guest.ended;
    process.off('exit', remove);
    remove();
  }
  return counts;
}
