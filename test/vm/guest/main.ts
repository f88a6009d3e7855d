/** Runs groups of cases in the guest: `main.js DIGEST GROUP...`. Exits with 1 when one has failed. */

import { Cases } from '../cases.ts';
import type { INSIDE } from '../groups.ts';

type Group = (typeof INSIDE)[number];

const FILES: Record<Group, () => Promise<{ run(cases: Cases, bulkDigest: string): Promise<void> }>> = {
  vsock: () => import('./vsock.ts'),
  '9p': () => import('./p9.ts'),
};

const [digest, ...groups] = process.argv.slice(2) as [string, ...Group[]];
let failed = 0;
for (const group of groups) {
  const cases = new Cases(group);
  const { run } = await FILES[group]();
  await cases.case('the group runs to its end', () => run(cases, digest), Number.POSITIVE_INFINITY);
  failed += cases.failed;
}
process.exit(failed === 0 ? 0 : 1);
