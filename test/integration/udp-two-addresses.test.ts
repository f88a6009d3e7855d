import { execFile, execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../dist/test/helpers/udp-two-addresses-main.js', import.meta.url));
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

it('answers come from the address that was asked, on any of several and on later ones', async (context) => {
  const reason = obstacle();
  if (reason !== undefined) {
    console.log(`skipped: ${reason}`);
    context.skip(reason);
  }
  const { stdout } = await promisify(execFile)('unshare', [flags, process.execPath, program]);
  const same = (address: string) => `hello from ${address}`;
  expect(JSON.parse(stdout)).toEqual({
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
