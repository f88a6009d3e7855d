/** The policy of a configuration file on every way in, and when the file changes. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { callApi, listForwards } from '../helpers/api.ts';
import { lastingPort } from '../helpers/lasting-port.ts';
import { logLines, loopback, Pair, runPortferry, unixSpec, until } from '../helpers/processes.ts';
import { connectTo, readAll, readExactly, refuses, roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

let dir: string;
let file: string;
let echo: StreamServer;
let pair: Pair;

const write = (...lines: string[]): void => writeFileSync(file, `${['workers = 1', ...lines].join('\n')}\n`);
const startOn = async (engine: 'auto' | 'portable', ...lines: string[]): Promise<void> => {
  write(...lines);
  pair = await Pair.start('auto', engine, [], ['--config', file]);
};
const start = (...lines: string[]): Promise<void> => startOn('portable', ...lines);
const wildcard = (port = 0): string => `tcp:0.0.0.0:${port}:tcp:127.0.0.1:${echo.port}`;
const published = async (): Promise<string[]> =>
  (await listForwards(pair.api)).forwards.filter(({ state }) => state !== 'failed').map(({ spec }) => spec);
const logged = (text: string) =>
  until(text, () => logLines(pair.host.stderr()).find(({ msg }) => msg?.includes(text) === true));

beforeAll(async () => {
  echo = await tcpEcho();
});

afterAll(() => echo?.close());

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  file = join(dir, 'portferry.toml');
});

afterEach(async () => {
  await pair?.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('every way in', () => {
  it('refuses by the same rule in the same words', async () => {
    await start('[policy]', 'bind = ["127.0.0.2"]');
    const spec = loopback('tcp', echo.port, 8);
    const text = 'policy of VM "default": 127.0.0.1:8 may not be opened: bind = ["127.0.0.2"] ([policy])';
    const { status, body } = await callApi(pair.api, 'POST', { spec });
    expect([status, body]).toEqual([403, { code: 'POLICY_DENIED', message: text }]);
    const commands = [
      ['expose', spec, '--api', pair.api],
      ['claim', spec, '--control', pair.controlUrl],
      ['claim', spec, '--control', pair.portFsUrl],
    ];
    for (const command of commands) {
      const { code, stdout, stderr } = await runPortferry(...command);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toContain(text);
    }
    expect(await published()).toEqual([]);
    const { msg } = await logged('not exposed');
    expect(msg).toContain(text);
  });

  it('publishes on loopback what was asked for on all addresses, and removes it under either name', async () => {
    await start('[policy]', 'publish = "loopback"');
    const { body } = await callApi(pair.api, 'POST', { spec: wildcard() });
    const { spec } = body as { spec: string };
    const port = Number(spec.split(':')[2]);
    expect(spec).toBe(loopback('tcp', echo.port, port));
    expect(await roundTrip(port, 'hello')).toBe('hello');
    // It is bound on 127.0.0.1 alone: 127.0.0.2 would answer for a wildcard.
    const other = await callApi(pair.api, 'POST', {
      spec: `tcp:127.0.0.2:${port}:tcp:127.0.0.1:${echo.port}`,
    });
    expect(other.status).toBe(201);
    expect((await callApi(pair.api, 'DELETE', { spec: wildcard(port) })).status).toBe(200);
    for (const control of [pair.controlUrl, pair.portFsUrl]) {
      const claimed = await pair.claim(wildcard(), control);
      expect(claimed.spec).toBe(loopback('tcp', echo.port, claimed.port));
      expect(await roundTrip(claimed.port, 'claimed')).toBe('claimed');
      expect(await claimed.running.kill()).toBe(0);
    }
  });

  it('keeps to ports, destinations and counts', async () => {
    const first = await lastingPort(8);
    const range = [`${first}`, `${first + 7}`];
    await start(
      '[vm.default.policy]',
      `ports = ["${range[0]}", "${range[1]}"]`,
      `destinations = ["127.0.0.1:${echo.port}"]`,
      'max-forwards = 1',
    );
    await expect(pair.expose(loopback('tcp', 1, first))).rejects.toThrow(
      /127.0.0.1:1 in the VM may not be dialled: destinations/,
    );
    await expect(pair.expose(loopback('tcp', echo.port, 1))).rejects.toThrow(/POLICY_DENIED.*ports = /);
    // Any free port is one of those that are allowed. (Somebody else may have one of the two; hardly both.)
    const { port, spec } = await pair.expose(loopback('tcp', echo.port));
    expect(range).toContain(`${port}`);
    await expect(pair.expose(loopback('tcp', echo.port))).rejects.toThrow(/max-forwards = 1/);
    await callApi(pair.api, 'DELETE', { spec });
    await pair.expose(loopback('tcp', echo.port));
  });

  it('makes unix sockets only where they may be, whatever links lead there', async () => {
    const container = join(dir, 'container.sock');
    const server = await tcpEcho(container);
    try {
      const allowed = join(dir, 'allowed');
      mkdirSync(allowed);
      symlinkSync(dir, join(allowed, 'out'));
      await start('[policy]', `unix-directories = ["${allowed}"]`);
      const path = join(allowed, 'x.sock');
      await pair.expose(unixSpec(path, container));
      const socket = await connectTo(path);
      socket.end('by path');
      expect((await readAll(socket)).toString()).toBe('by path');
      for (const refused of [join(dir, 'x.sock'), join(allowed, 'out', 'x.sock'), `${allowed}/../x.sock`])
        await expect(pair.expose(unixSpec(refused, container))).rejects.toThrow(/POLICY_DENIED/);
    } finally {
      await server.close();
    }
  });
});

describe('another policy', () => {
  it('on SIGHUP ends what it does not allow and nothing else; a broken file changes nothing', async () => {
    await startOn('auto', '[policy]');
    const stays = await pair.expose(loopback('tcp', echo.port));
    const goes = await pair.expose(wildcard());
    const claimed = await pair.claim(wildcard(), pair.portFsUrl);
    const onHost = await pair.claim(wildcard(), pair.controlUrl);
    const running = await connectTo(stays.port);
    write('[policy]', 'bnd = []');
    pair.host.child.kill('SIGHUP');
    const { level, msg } = await logged('stays as it was');
    expect(level).toBe(50);
    expect(msg).toContain(`${file}:3: unknown key policy.bnd; did you mean bind?`);
    expect(await published()).toHaveLength(4);

    write('[policy]', 'bind = ["127.0.0.0/8"]');
    pair.host.child.kill('SIGHUP');
    await until('the others to go', async () => (await published()).join() === stays.spec);
    await until(
      'their ports to be closed',
      async () => (await refuses(goes.port)) && (await refuses(claimed.port)),
    );
    await until('the VM shim to hear of it', () =>
      pair.shim.stderr().includes('ended by the host: policy of VM'),
    );
    for (const claim of [claimed, onHost]) {
      expect(await claim.running.exited).toBe(1);
      const why = `portferry claim: ${claim.spec} is no longer published: policy of VM "default": `;
      expect(claim.running.stderr()).toContain(why);
      expect(claim.running.stderr()).toContain('bind = ["127.0.0.0/8"] ([policy]) [POLICY_DENIED]');
    }
    // It was made through the API, so it is kept for a policy that allows it.
    const { forwards } = await listForwards(pair.api);
    const kept = forwards.find(({ spec }) => spec === goes.spec);
    expect(kept).toMatchObject({ state: 'failed', error: { code: 'POLICY_DENIED' } });
    running.write('still here');
    expect((await readExactly(running, 10)).toString()).toBe('still here');
    running.destroy();
    expect((await logged('no longer allowed, and ended')).msg).toContain('bind = ["127.0.0.0/8"]');
  });

  it('holds as soon as the file is written or replaced', async () => {
    await start('[policy]');
    await pair.expose(loopback('tcp', echo.port));
    write('[policy]', 'bind = ["127.0.0.2"]');
    await until('the forward to go', async () => (await published()).length === 0);
    writeFileSync(`${file}.new`, 'workers = 1\n[policy]\nbind = ["127.0.0.1"]\n');
    renameSync(`${file}.new`, file);
    await until('the forward to come back', async () => (await published()).length === 1);
  });

  it('is all that changes without a restart, and the log says so', async () => {
    await start();
    writeFileSync(file, 'workers = 2\n');
    expect((await logged('needs a restart')).level).toBe(40);
  });
});
