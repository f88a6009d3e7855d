/** Forwards made through the API live in the state file, whatever happens to the host agent. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callApi, type ForwardList, listForwards } from '../helpers/api.ts';
import { logLines, loopback, Pair, type Running, runPortferry, until } from '../helpers/processes.ts';
import { refuses, roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { serveStreams } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

let pair: Pair;
let echo: StreamServer;
let dir: string;
let state: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  state = join(dir, 'state');
  echo = await tcpEcho();
});
afterEach(async () => {
  await pair?.close();
  await echo?.close();
  rmSync(dir, { recursive: true, force: true });
});

async function start(engine: 'auto' | 'portable' = 'portable'): Promise<void> {
  pair = await Pair.start('auto', engine, [], ['--state', state]);
}

async function restart(signal: NodeJS.Signals = 'SIGKILL'): Promise<Running> {
  await pair.host.kill(signal);
  const host = pair.startHost();
  await pair.linked();
  return host;
}

const specs = async (): Promise<string[]> =>
  (await listForwards(pair.api)).forwards.map(({ spec }) => spec).sort();
const list = (): ReturnType<typeof runPortferry> => runPortferry('list', '--api', pair.api);

describe('permanent forwards', () => {
  it.each([
    ['SIGKILL', 'auto'],
    ['SIGTERM', 'portable'],
  ] as const)('are back at the same port after %s of the host agent, %s engine', async (signal, engine) => {
    await start(engine);
    const { spec, port } = await pair.expose(`${echo.port}`); // through the command line, any free port
    const other = await pair.expose(loopback('tcp', echo.port));
    // What others claim is not permanent.
    const claim = await pair.claim(loopback('tcp', echo.port));
    await restart(signal);
    expect(await specs()).toEqual([spec, other.spec].sort());
    expect(await roundTrip(port, 'again')).toBe('again');
    expect(await refuses(claim.port)).toBe(true);

    expect((await runPortferry('unexpose', spec, '--api', pair.api)).stdout).toBe(`${spec}\n`);
    await restart(signal);
    expect(await specs()).toEqual([other.spec]);
  });

  it('whose port is taken at the start are listed with the reason, published when it is free, or removed', async () => {
    await start();
    const [first, second] = await Promise.all([1, 2].map(() => pair.expose(loopback('tcp', echo.port))));
    await pair.host.kill('SIGKILL');
    const thieves = await Promise.all(
      [first!, second!].map(({ port }) => serveStreams((socket) => void socket.destroy(), port)),
    );
    pair.startHost();
    await pair.linked();
    const { stdout } = await list();
    for (const { spec, port } of [first!, second!]) {
      const where = `127.0.0.1:${port}`;
      const why = `Bind for ${where} failed: port is already allocated`;
      expect(stdout).toContain(`not published: ${spec} (VM default): ${why}: `);
      expect(stdout).toContain(` (process ${process.pid}) has ${where} [PORT_IN_USE]\n`);
    }
    const { forwards } = await listForwards(pair.api);
    expect(forwards).toMatchObject([{}, {}].map(() => ({ state: 'failed', error: { code: 'PORT_IN_USE' } })));

    const removed = await runPortferry('unexpose', second!.spec, '--api', pair.api);
    expect(removed.stdout).toBe(`${second!.spec}\n`);
    await Promise.all(thieves.map((thief) => thief.close()));
    await until('the port to be ours', () =>
      roundTrip(first!.port, 'again').then(
        (answer) => answer === 'again',
        () => false,
      ),
    );
    expect((await listForwards(pair.api)).forwards).toMatchObject([{ spec: first!.spec }]);
    await restart();
    expect(await specs()).toEqual([first!.spec]);
  });
});

describe('the state file', () => {
  it('after kill -9 at any moment has all that was answered, and nothing that was not asked for', async () => {
    await start();
    let known: string[] = [];
    for (let round = 0; round < 3; round++) {
      const asked = new Set(known);
      const answered = new Set(known);
      const limit = 3 + round * 13;
      const requests = Array.from({ length: 60 }, async (_, index) => {
        const wanted = loopback('tcp', 10_000 + round * 1_000 + index);
        asked.add(wanted);
        const { status, body } = await callApi(pair.api, 'POST', { spec: wanted }).catch(() => ({
          status: 0,
          body: {},
        }));
        if (status !== 201) return;
        answered.add((body as { spec: string }).spec);
        if (answered.size === known.length + limit) void pair.host.kill('SIGKILL');
      });
      await Promise.all(requests);
      await restart();
      const { forwards } = await listForwards(pair.api);
      const found = forwards.map(({ spec }) => spec);
      expect(found).toEqual(expect.arrayContaining([...answered]));
      const containers = new Set([...asked].map((spec) => spec.split(':').at(-1)));
      expect(found.filter((spec) => !containers.has(spec.split(':').at(-1)))).toEqual([]);
      expect(pair.host.stderr()).not.toContain('damaged');
      known = found;
    }
    expect(known.length).toBeGreaterThan(40);
  });

  it('that is damaged is set aside, and the log says so', async () => {
    await start();
    await pair.expose(loopback('tcp', echo.port));
    await pair.host.kill('SIGKILL');
    truncateSync(state, 100);
    const host = pair.startHost();
    await pair.linked();
    expect((await listForwards(pair.api)).forwards).toEqual([]);
    const aside = readdirSync(dir).filter((name) => name.startsWith('state.damaged-'));
    expect(aside.length).toBe(1);
    const line = logLines(host.stderr()).find(({ msg }) => msg?.includes('is damaged'));
    expect(line).toMatchObject({ level: 50, aside: expect.stringContaining(aside[0]!) });
    expect(readFileSync(join(dir, aside[0]!)).length).toBe(100);
  });

  it('belongs to one host agent, and what cannot be written there is not published', async () => {
    await start();
    const args = ['--connect', 'unix:///nonexistent', '--state', state];
    const second = await runPortferry('host-agent', ...args);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(`a host agent with process id ${pair.host.pid} uses it`);
    expect(second.stderr).toContain('[STATE_IN_USE]');
    expect((await list()).code).toBe(0);

    // One that cannot be written refuses the request, and nothing is published. A file where the new content would be made a directory: even root cannot write it.
    mkdirSync(`${state}.new`);
    writeFileSync(join(`${state}.new`, 'in the way'), '');
    const { code, stderr } = await runPortferry('expose', loopback('tcp', echo.port), '--api', pair.api);
    expect(code).toBe(1);
    expect(stderr).toContain(`the state file ${state}`);
    expect((await callApi(pair.api, 'GET')).body as ForwardList).toMatchObject({ forwards: [] });
    rmSync(`${state}.new`, { recursive: true });
    await pair.expose(loopback('tcp', echo.port));
  });
});
