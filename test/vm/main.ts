/**
 * `npm run test:vm [-- GROUP...]`: what can only be tested on a kernel that we may ask for anything, in a guest under
 * QEMU. One boot serves all groups, of which each is a file in guest/. Needs Debian on x86-64, and no root.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { digestOf } from '../helpers/test-bytes.ts';
import { bootGuest } from './boot.ts';
import { BULK, GROUPS } from './groups.ts';
import { buildImage } from './image.ts';
import { writePayload } from './payload.ts';
import { whatIsMissing } from './tools.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Software emulation is ten to thirty times slower than a processor. */
const TIMEOUT_MS = 600_000;

const missing = whatIsMissing();
if (missing !== undefined) fail(`the VM tests cannot run here: ${missing}`);
const groups = process.argv.length > 2 ? process.argv.slice(2) : [...GROUPS];
const unknown = groups.find((group) => !(GROUPS as readonly string[]).includes(group));
if (unknown !== undefined) fail(`no group "${unknown}"; there are ${GROUPS.join(', ')}`);

const cache = join(process.env.XDG_CACHE_HOME ?? join(ROOT, '.cache'), 'portferry-vm');
const begin = performance.now();
const image = buildImage(cache, (text) => console.log(text));
const work = mkdtempSync(join(cache, 'run-'));
process.once('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const payload = join(work, 'payload.tar');
// The guest is spared the digest, which it would take as long for as for carrying the bytes.
const digest = digestOf(BULK.seed, BULK.bytes);
writePayload(ROOT, work, `exec node dist/test/vm/guest/main.js ${digest} ${groups.join(' ')}`, payload);

let passed = 0;
let failed = 0;
const { status, console: said } = await bootGuest({
  image,
  payload,
  work,
  timeoutMs: TIMEOUT_MS,
  onLine: (line) => {
    if (line.startsWith('ok ')) passed++;
    if (line.startsWith('FAILED ')) failed++;
    console.log(line);
  },
});
const seconds = ((performance.now() - begin) / 1000).toFixed(0);
if (status === undefined) {
  console.log(said.slice(-40).join('\n'));
  fail(`the guest ended without a result (limit ${TIMEOUT_MS / 1000} s) after ${passed} passed`);
}
console.log(`${passed} passed, ${failed} failed, in ${seconds} s with the guest's start`);
process.exit(status === 0 && failed === 0 && passed > 0 ? 0 : 1);

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
