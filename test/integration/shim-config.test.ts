/** The configuration file of the VM shim, through the command line. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { callApi } from '../helpers/api.ts';
import {
  hostPort,
  logLines,
  loopback,
  ONE_WORKER,
  ProcessGroup,
  runPortferry,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import { fateOfNew, roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

let group: ProcessGroup;
let file: string;
let echo: StreamServer;
beforeEach(async () => {
  echo = await tcpEcho();
  group = new ProcessGroup();
  file = join(group.dir, 'shim.toml');
});
afterEach(async () => {
  await group.close();
  await echo.close();
});

it('says all that the shim needs, and options win over it', async () => {
  const token = join(group.dir, 'token');
  writeFileSync(token, 'x'.repeat(32), { mode: 0o600 });
  const url = group.unixUrl('shim.sock');
  const settings = [
    `listen = "${url}"`,
    `token-file = "${token}"`,
    `port-fs = "${group.unixUrl('port-fs.sock')}"`,
    `allow-destination = "127.0.0.1:${echo.port}"`,
    'engine = "portable"',
    'log-level = "error"',
  ];
  writeFileSync(file, settings.join('\n'));
  const shim = group.start('vm-shim', '--config', file, '--log-level', 'info');
  const api = join(group.dir, 'api.sock');
  const host = group.start(
    ...['host-agent', ...ONE_WORKER, '--connect', url, '--token-file', token, '--api', api],
  );
  const { vms } = await untilLinked(host, api);
  expect(vms).toMatchObject([{ up: true, token: true }]);
  const expose = async (port: number): Promise<number> => {
    const { body } = await callApi(api, 'POST', { spec: loopback('tcp', port) });
    return hostPort((body as { spec: string }).spec);
  };
  expect(await roundTrip(await expose(echo.port), 'hello')).toBe('hello');
  expect(await fateOfNew(await expose(echo.port - 1))).toEqual({ how: 'ECONNRESET', bytes: 0 });
  const claim = group.start('claim', `${echo.port}/tcp`, '--control', group.unixUrl('port-fs.sock'));
  const claimed = await until('the claim', () => {
    if (claim.child.exitCode !== null) throw new Error(claim.stderr());
    return /^tcp:.*\n/.exec(claim.stdout())?.[0];
  });
  expect(await roundTrip(hostPort(claimed), 'hello')).toBe('hello');
  const lines = logLines(shim.stderr());
  expect(lines.map(({ engine }) => engine)).toContain('portable');
  expect(lines.some(({ level }) => level === 30)).toBe(true);
});

it('that is wrong is an error that names the line; so is one that is not there, and two links', async () => {
  const both = join(group.dir, 'both.toml');
  writeFileSync(both, 'listen = "unix:///a"\nconnect = "unix:///b"\n');
  writeFileSync(file, 'listen = "unix:///a"\nalow-destination = []\n');
  const ran = await Promise.all(
    [file, both, join(group.dir, 'none')].map((each) => runPortferry('vm-shim', '--config', each)),
  );
  expect(ran.map(({ code }) => code)).toEqual([2, 2, 1]);
  expect(ran[0]!.stderr).toContain(
    `${file}:2: unknown key alow-destination; did you mean allow-destination?`,
  );
  expect(ran[1]!.stderr).toContain('give either --listen <url>');
  expect(ran[2]!.stderr).toContain('there is no such file');
});
