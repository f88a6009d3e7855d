/** Services of the host that are published in the VM: here both are this machine. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callApi, listForwards } from '../helpers/api.ts';
import { allLanesAndEngines } from '../helpers/engines.ts';
import { Pair, runPortferry, until } from '../helpers/processes.ts';
import { connectTo, fateOf, fateOfNew, readExactly, refuses, roundTrip } from '../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';
import { digestOf, receiveBytes, sendBytes } from '../helpers/test-bytes.ts';

const TOTAL = 12_000_000;
const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
const services = join(dir, 'services');
mkdirSync(services);
const ALLOW = ['--allow-reverse', '127.0.0.1', '--allow-reverse', `unix:${services}`];
const reverse = (service: number, port = 0): string =>
  `reverse:tcp:127.0.0.1:${service}:tcp:127.0.0.1:${port}`;
const base64 = (path: string): string => Buffer.from(path).toString('base64');

/** Publishes in the VM; answers the resolved spec and its port there. */
async function expose(pair: Pair, spec: string): Promise<{ spec: string; port: number }> {
  const { status, body } = await callApi(pair.api, 'POST', { spec });
  if (status !== 201) throw new Error(`expose ${spec} failed: ${JSON.stringify(body)}`);
  const resolved = (body as { spec: string }).spec;
  return { spec: resolved, port: Number(resolved.split(':').at(-1)) };
}

let echo: StreamServer;
/** Answers an upload, once it has ended, with its digest. */
let digest: StreamServer;
beforeAll(async () => {
  echo = await tcpEcho();
  digest = await serveStreams((socket) => {
    void receiveBytes(socket).then(({ digest }) => socket.end(digest));
  });
});
afterAll(async () => {
  await echo?.close();
  await digest?.close();
  rmSync(dir, { recursive: true, force: true });
});

describe.each(allLanesAndEngines)('%s lane, %s engine', (lane, engine) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await Pair.start(lane, engine, [], ALLOW);
  });
  afterAll(() => pair?.close());

  it('carries clients of the VM to a service of the host, half-closes kept, and counts them', async () => {
    const { spec, port } = await expose(pair, reverse(digest.port));
    const upload = await connectTo(port);
    sendBytes(upload, 7, TOTAL);
    expect((await readExactly(upload, 64)).toString()).toBe(digestOf(7, TOTAL));
    upload.destroy();
    await pair.quiet(spec);
    expect(await pair.stats(spec)).toMatchObject({ connections: 1, bytes_up: TOTAL, bytes_down: 64 });
  });

  it('tells resets from ends, both ways, and a service that is not there', async () => {
    const { port } = await expose(pair, reverse(echo.port));
    const client = await connectTo(port);
    client.write('hello');
    expect((await readExactly(client, 5)).toString()).toBe('hello');
    const [served] = [...echo.sockets].slice(-1);
    const fate = fateOf(client);
    served!.resetAndDestroy();
    expect((await fate).how).toBe('ECONNRESET');
    const other = await connectTo(port);
    other.write('hello');
    await readExactly(other, 5);
    const [theirs] = [...echo.sockets].slice(-1);
    const end = fateOf(theirs!);
    other.resetAndDestroy();
    expect((await end).how).toBe('ECONNRESET');
    const gone = await serveStreams(() => {});
    await gone.close();
    const nobody = await expose(pair, reverse(gone.port));
    expect((await fateOfNew(nobody.port)).how).toBe('ECONNRESET');
    await until('it to be counted', async () => (await pair.stats(nobody.spec)).dial_failures === 1);
  });

  it('carries unix sockets, and follows no link out of the directory that is allowed', async () => {
    const [service, outside] = [join(services, 'service.sock'), join(dir, 'outside.sock')];
    const inVm = join(pair.dir, 'in-vm.sock');
    const server = await serveStreams((socket) => socket.pipe(socket), service);
    const other = await serveStreams((socket) => socket.pipe(socket), outside);
    const spec = `reverse:unix:${base64(service)}:unix:${base64(inVm)}`;
    try {
      expect((await callApi(pair.api, 'POST', { spec })).status).toBe(201);
      expect(await roundTrip(inVm, 'hello')).toBe('hello');
      rmSync(service);
      symlinkSync(outside, service);
      const client = await connectTo(inVm);
      expect((await fateOf(client)).bytes).toBe(0);
      expect([other.accepted(), (await pair.stats(spec)).dial_failures]).toEqual([0, 1]);
    } finally {
      await server.close();
      await other.close();
      rmSync(service, { force: true });
    }
  });

  it('is removed with its connections when that is asked for', async () => {
    const { spec, port } = await expose(pair, reverse(echo.port));
    const client = await connectTo(port);
    client.write('hello');
    await readExactly(client, 5);
    const fate = fateOf(client);
    expect((await callApi(pair.api, 'DELETE', { spec, now: true })).status).toBe(200);
    expect((await fate).how).toBe('ECONNRESET');
    await until('the port to be closed', () => refuses(port));
  });
});

describe('a reverse forward', () => {
  it('is made, listed and removed from the command line, and refused with the rule', async () => {
    const pair = await Pair.start('auto', 'auto', [], ALLOW.slice(0, 2));
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
      expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('[PORT_IN_USE]')]);
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
      const { spec, port } = await expose(pair, reverse(echo.port));
      const works = () =>
        roundTrip(port, 'hello').then(
          (text) => text === 'hello',
          () => false,
        );
      await pair.host.kill('SIGKILL');
      pair.startHost();
      await pair.linked();
      await until('it to work with another host agent', works);
      await pair.shim.kill('SIGKILL');
      expect(await refuses(port)).toBe(true);
      pair.startShim();
      await until('it to work with another shim', works);
      writeFileSync(file, '[policy]\nallow-reverse = ["127.0.0.2"]\n');
      await until('it to be ended', () => refuses(port));
      const { forwards } = await listForwards(pair.api);
      expect(forwards).toMatchObject([{ spec, state: 'failed', error: { code: 'POLICY_DENIED' } }]);
    } finally {
      await pair.close();
    }
  });
});
