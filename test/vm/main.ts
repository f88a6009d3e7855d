/**
 * `npm run test:vm [-- GROUP...]`: what can only be tested on a kernel that we may ask for anything, in guests under
 * QEMU. One boot serves all groups that run in a guest, another one those that use a guest from outside. Needs Debian
 * on x86-64, and no root.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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

const payload = join(work, 'payload.tar');
const guest = { image, payload, work, timeoutMs: TIMEOUT_MS };
let passed = 0;
let failed = 0;
const add = (counts: { passed: number; failed: number }): void => {
  passed += counts.passed;
  failed += counts.failed;
};
try {
  const inside = INSIDE.filter((group) => groups.includes(group));
  if (inside.length > 0)
    add(await runInside(inside, guest, (command) => writePayload(ROOT, work, command, payload)));
  const outside = OUTSIDE.filter((group) => groups.includes(group));
  if (outside.length > 0) {
    writePayload(ROOT, work, GUEST_SCRIPT, payload);
    add(await runOutside(outside, guest));
  }
} catch (error) {
  fail(`${(error as Error).message}, after ${passed} passed`);
}
const seconds = ((performance.now() - begin) / 1000).toFixed(0);
console.log(`${passed} passed, ${failed} failed, in ${seconds} s with the start of guests`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
