import { execFile, execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, type TestContext } from 'vitest';
import { engines, whyNotLinux } from '../helpers/engines.ts';

const programs = new URL('../../dist/test/helpers/', import.meta.url);
/** Root makes a namespace as it is; others need a user namespace around it. */
const flags = process.geteuid?.() === 0 ? '-n' : '-rn';

/** Why no network namespace can be made here, or undefined when one can. */
function obstacle(): string | undefined {
  try {
    const make = 'ip link add test0 type dummy || ip link add test0 type veth peer name test1';
    execFileSync('unshare', [flags, 'sh', '-c', make], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    const { stderr, message } = error as { stderr?: Buffer; message: string };
    return `\`unshare ${flags}\` and ip(8) are needed to make a network namespace: ${stderr ?? ''} ${message}`.trim();
  }
}

/** Runs a program of the helpers in a network namespace. @returns the JSON that it writes */
async function inNamespace(context: TestContext, program: string, ...args: string[]): Promise<unknown> {
  const reason = obstacle();
  if (reason !== undefined) {
    console.log(`skipped: ${reason}`);
    context.skip(reason);
  }
  const file = fileURLToPath(new URL(program, programs));
  const { stdout } = await promisify(execFile)('unshare', [flags, process.execPath, file, ...args]);
  return JSON.parse(stdout);
}

it('answers come from the address that was asked, on any of several and on later ones', async (context) => {
  const same = (address: string) => `hello from ${address}`;
  expect(await inNamespace(context, 'udp-two-addresses-main.js')).toEqual({
    four: {
      '127.0.0.1': same('127.0.0.1'),
      '10.77.0.1': same('10.77.0.1'),
      '10.77.0.2': same('10.77.0.2'),
      '10.77.0.3': same('10.77.0.3'),
      gone: '10.77.0.3',
    },
    six: {
      '::1': same('::1'),
      'fd77::1': same('fd77::1'),
      'fd77::2': same('fd77::2'),
      'fd77::3': same('fd77::3'),
      gone: 'fd77::3',
    },
    plain: 'no answer: AbortError',
  });
});

const lanes = [
  ['portable', 'dedicated'],
  ['linux', 'dedicated'],
  ['linux', 'multiplexed'],
] as const;

for (const [engine, lane] of lanes) {
  const title = `a wildcard forward of the ${engine} engine answers from the address that was asked, ${lane} lane`;
  it(title, async (context) => {
    if (!engines.includes(engine)) context.skip(`the ${engine} engine does not run here: ${whyNotLinux}`);
    const back = 'hello back';
    expect(await inNamespace(context, 'udp-wildcard-main.js', engine, lane)).toEqual({
      four: { '127.0.0.1': back, '10.77.0.1': back, '10.77.0.2': back },
      six: { '::1': back, 'fd77::1': back, 'fd77::2': back },
    });
  });
}
