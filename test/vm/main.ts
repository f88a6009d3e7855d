/**
 * `npm run test:vm [-- GROUP...]`: what can only be tested on a kernel that we may ask for anything, in guests under
 * QEMU. Each group that runs inside has a guest, one after the other; at the same time another guest serves those that
 * use one from outside.
 * Needs Debian on x86-64, and no root.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../shared/errors.ts';
import { INSIDE, OUTSIDE } from './groups.ts';
import { buildImage } from './image.ts';
import { runInside } from './inside.ts';
import { GUEST_SCRIPT } from './outside/guest-script.ts';
import { runOutside } from './outside/main.ts';
import { writePayload } from './payload.ts';
import { whatIsMissing } from './tools.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** How long a guest may take. Software emulation is ten to thirty times slower than a processor. */
const TIMEOUT_MS = 600_000;

const missing = whatIsMissing();
if (missing !== undefined) fail(`the VM tests cannot run here: ${missing}`);
const all: readonly string[] = [...INSIDE, ...OUTSIDE];
const groups = process.argv.length > 2 ? process.argv.slice(2) : all;
const unknown = groups.find((group) => !all.includes(group));
if (unknown !== undefined) fail(`no group "${unknown}"; there are ${all.join(', ')}`);

const cache = join(process.env.XDG_CACHE_HOME ?? join(ROOT, '.cache'), 'portferry-vm');
const begin = performance.now();
const image = buildImage(cache, (text) => console.log(text));
const work = mkdtempSync(join(cache, 'run-'));
process.once('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

/** Writes what one guest gets, into a folder of its own. */
const prepare = (where: string, command: string) => {
  const folder = join(work, where);
  const payload = join(folder, 'payload.tar');
  mkdirSync(folder);
  writePayload(ROOT, folder, command, payload);
  return { image, payload, work: folder, timeoutMs: TIMEOUT_MS };
};
const inside = INSIDE.filter((group) => groups.includes(group));
const outside = OUTSIDE.filter((group) => groups.includes(group));
// Each waits much, for time to pass or for one program to start, so both run at once.
const runs = await Promise.allSettled([
  inside.length > 0 && runInside(inside, prepare),
  outside.length > 0 && runOutside(outside, prepare('outside', GUEST_SCRIPT)),
]);
let [passed, failed, broken] = [0, 0, 0];
for (const [index, run] of runs.entries())
  if (run.status === 'rejected') {
    broken++;
    console.error(`the guest of the groups ${index === 0 ? 'inside' : 'outside'}: ${messageOf(run.reason)}`);
  } else if (run.value !== false) {
    passed += run.value.passed;
    failed += run.value.failed;
  }
const seconds = ((performance.now() - begin) / 1000).toFixed(0);
console.log(`${passed} passed, ${failed} failed, in ${seconds} s with the start of guests`);
process.exit(broken === 0 && failed === 0 && passed > 0 ? 0 : 1);

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
