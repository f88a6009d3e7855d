/** Runs a group of cases in the guest: `main.js DIGEST GROUP`. Exits with 1 when one has failed. */

import { Cases } from '../cases.ts';
import type { INSIDE } from '../groups.ts';

type Group = (typeof INSIDE)[number];

const FILES: Record<Group, () => Promise<{ run(cases: Cases, bulkDigest: string): Promise<void> }>> = {
  vsock: () => import('./vsock.ts'),
  '9p': () => import('./p9.ts'),
};

const [digest, group] = process.argv.slice(2) as [string, Group];
const cases = new Cases(group);
const { run } = await FILES[group]();
await cases.case('the group runs to its end', () => run(cases, digest), Number.POSITIVE_INFINITY);
process.exit(cases.failed === 0 ? 0 : 1);
