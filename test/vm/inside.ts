/** Boots a guest that runs groups of cases by itself, and counts what it says of them. */
import { digestOf } from '../helpers/test-bytes.ts';
import { bootGuest, type GuestOptions } from './boot.ts';
import { BULK, type INSIDE } from './groups.ts';

/**
 * @param prepare writes the payload, with the command that the guest runs
 * @returns how many cases passed and failed
 * @throws when the guest ended without a result
 */
export async function runInside(
  groups: ReadonlyArray<(typeof INSIDE)[number]>,
  prepare: (command: string) => Omit<GuestOptions, 'onLine'>,
): Promise<{ passed: number; failed: number }> {
  // The guest is spared the digest, which it would take as long for as for carrying the bytes.
  const digest = digestOf(BULK.seed, BULK.bytes);
  const guest = prepare(`exec node dist/test/vm/guest/main.js ${digest} ${groups.join(' ')}`);
  const counts = { passed: 0, failed: 0 };
  const { status, console: said } = await bootGuest({
    ...guest,
    onLine: (line) => {
      if (line.startsWith('ok ')) counts.passed++;
      if (line.startsWith('FAILED ')) counts.failed++;
      console.log(line);
    },
  }).ended;
  if (status === undefined) {
    console.log(said.slice(-40).join('\n'));
    throw new Error(`the guest ended without a result (limit ${guest.timeoutMs / 1000} s)`);
  }
  if (status !== 0 && counts.failed === 0) throw new Error(`the guest's tests ended with ${status}`);
  return counts;
}
