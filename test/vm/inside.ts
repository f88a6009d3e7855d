/** Boots guests that run a group of cases by themselves, and counts what they say of them. */
import { digestOf } from '../helpers/test-bytes.ts';
import { bootGuest, type GuestOptions } from './boot.ts';
import { type Counts, onceMore } from './counts.ts';
import { BULK, type INSIDE } from './groups.ts';

type Options = Omit<GuestOptions, 'onLine'>;

/**
 * @param prepare writes the payload, with the command that the guest runs
 * @returns how many cases passed and failed
 * @throws when a guest ended without a result
 */
export async function runInside(
  groups: ReadonlyArray<(typeof INSIDE)[number]>,
  prepare: (where: string, command: string) => Options,
): Promise<Counts> {
  // The guest is spared the digest, which it would take as long for as for carrying the bytes.
  const digest = digestOf(BULK.seed, BULK.bytes);
  const sum = { passed: 0, failed: 0 };
  for (const group of groups) {
    const options = prepare(group, `exec node dist/test/vm/guest/main.js ${digest} ${group}`);
    const { passed, failed } = await onceMore(group, () => runGuest(options));
    sum.passed += passed;
    sum.failed += failed;
  }
  return sum;
}

async function runGuest(options: Options): Promise<Counts | undefined> {
  const counts = { passed: 0, failed: 0 };
  const guest = bootGuest({
    ...options,
    onLine: (line) => {
      if (line.startsWith('ok ')) counts.passed++;
      if (line.startsWith('FAILED ')) counts.failed++;
      console.log(line);
    },
  });
  const { status, console: said } = await guest.ended;
  if (status === undefined) {
    if (guest.stoodStill()) return undefined;
    console.log(said.slice(-40).join('\n'));
    throw new Error(`the guest ended without a result (limit ${options.timeoutMs / 1000} s)`);
  }
  if (status !== 0 && counts.failed === 0) throw new Error(`the guest's tests ended with ${status}`);
  return counts;
}
