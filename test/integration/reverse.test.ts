/** Reverse forwards from the command line, and when programs and policies go; what they carry is in carried/reverse.ts. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listForwards } from '../helpers/api.ts';
import { Pair, runPortferry, until } from '../helpers/processes.ts';
import { exposeReverse, reverseSpec } from '../helpers/reverse.ts';
import { connectTo, readAll, refuses, roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

/** A client is reset after 5 s. */
const WAIT_MS = 4_500;

const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
let echo: StreamServer;
beforeAll(async () => {
  echo = await tcpEcho();
});
afterAll(async () => {
  await echo?.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('a reverse forward', () => {
  it('is made, listed and removed from the command line, and refused with the rule', async () => {
    const pair = await Pair.start('auto', 'auto', [], ['--allow-reverse', '127.0.0.1']);
    try {
      const made = await runPortferry(
        'expose',
        '--reverse',
        `tcp:127.0.0.1:${echo.port}@vm:0`,
        '--api',
        pair.api,
      );
      expect(made.code).toBe(0);
      const spec = made.stdout.trim();
      expect(await roundTrip(Number(spec.split(':').at(-1)), 'hello')).toBe('hello');
      expect((await runPortferry('list', '--api', pair.api)).stdout).toContain(spec);
      const again = await runPortferry('expose', spec, '--api', pair.api);
      expect([again.code, again.stderr]).toEqual([
        1,
        expect.stringContaining(`; it is open for ${spec} [PORT_IN_USE]`),
      ]);
      const denied = await runPortferry('expose', '--reverse', 'tcp:127.0.0.2:22@vm:22', '--api', pair.api);
      expect(denied.code).toBe(1);
      expect(denied.stderr).toContain(
        'policy of VM "default": 127.0.0.2:22 of the host may not be published in the VM: allow-reverse = ["127.0.0.1"] (--allow-reverse)',
      );
      const removed = await runPortferry('unexpose', spec, '--api', pair.api);
      expect([removed.code, removed.stdout]).toEqual([0, `${spec}\n`]);
    } finally {
      await pair.close();
    }
  });

  it('outlives both programs, on the same port, and ends when the policy says so', async () => {
    const file = join(dir, 'policy.toml');
    writeFileSync(file, '[policy]\nallow-reverse = ["127.0.0.1"]\n');
    const pair = await Pair.start('auto', 'auto', [], ['--config', file, '--state', join(dir, 'state')]);
    try {
      const { spec, port } = await exposeReverse(pair, reverseSpec(echo.port));
      const works = () =>
        roundTrip(port, 'hello').then(
          (text) => text === 'hello',
          () => false,
        );
      // An ordinary forward takes a moment to close, in which the shim could be told to close the port.
      await pair.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${echo.port}`);
      for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
        await pair.host.kill(signal);
        const client = await connectTo(port);
        const waiting = readAll(client).catch((error: Error) => error.message);
        const begun = performance.now();
        client.end('who waits is served');
        pair.startHost();
        await pair.linked();
        const waited = performance.now() - begun;
        if (waited < WAIT_MS) expect(`${await waiting}`).toBe('who waits is served');
        else console.log(`the host agent took ${waited.toFixed(0)} ms: longer than any client waits`);
        await until('it to work with another host agent', works);
      }
      await pair.shim.kill('SIGKILL');
      expect(await refuses(port)).toBe(true);
      pair.startShim();
      await until('it to work with another shim', works);
      writeFileSync(file, '[policy]\nallow-reverse = ["127.0.0.2"]\n');
      await until('it to be ended', () => refuses(port));
      const { forwards } = await listForwards(pair.api);
      const ended = { spec, state: 'failed', error: { code: 'POLICY_DENIED' } };
      expect(forwards.filter((each) => each.spec === spec)).toMatchObject([ended]);
    } finally {
      await pair.close();
    }
  });
});
