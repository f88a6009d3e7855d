/** Several ports and addresses in one request, through every door. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callApi, listForwards } from '../helpers/api.ts';
import { engines } from '../helpers/engines.ts';
import { ask, hasIpv6, type PortRow, portRow } from '../helpers/port-row.ts';
import { hostPort, Pair, runPortferry, until } from '../helpers/processes.ts';
import { refuses } from '../helpers/stream-client.ts';
import { serveStreams } from '../helpers/stream-server.ts';

const COUNT = 20;
/** Host ports that the agent may choose from. */
const CHOICE = 60;
const ipv6 = await hasIpv6();
if (!ipv6) console.log('only IPv4 is tested: this machine has no IPv6');
const HOSTS = ipv6 ? '127.0.0.1,[::1]' : '127.0.0.1';
const IPS = ipv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'];

let pair: Pair;
let row: PortRow;
/** First of the host ports that the agent chooses from. */
let choice: number;

async function start(engine: 'auto' | 'linux' | 'portable'): Promise<void> {
  const free = await portRow('tcp', CHOICE);
  await free.close();
  choice = free.first;
  row = await portRow('tcp', COUNT);
  pair = await Pair.start('auto', engine, [], ['--port-range', `${choice}-${choice + CHOICE - 1}`]);
}

async function stop(): Promise<void> {
  await pair?.close();
  await row?.close();
}

const cli = (...args: string[]): ReturnType<typeof runPortferry> => runPortferry(...args, '--api', pair.api);
const expose = async (spec: string): Promise<unknown> => (await callApi(pair.api, 'POST', { spec })).body;
const rowPorts = (): string => `${row.first}-${row.first + COUNT - 1}`;

afterEach(async () => expect((await listForwards(pair.api)).forwards).toEqual([]));

describe.each(engines)('%s engine', (engine) => {
  beforeAll(() => start(engine));
  afterAll(stop);

  it('expose publishes a range at both addresses as one forward, and unexpose ends all of it', async () => {
    const { stdout, stderr } = await cli('expose', `${HOSTS}::${rowPorts()}`);
    const spec = stdout.trim();
    expect(stderr).toBe('');
    const first = hostPort(spec);
    expect(spec).toBe(`tcp:${HOSTS}:${first}-${first + COUNT - 1}:tcp:127.0.0.1:${rowPorts()}`);
    const asked = IPS.flatMap((ip) =>
      Array.from({ length: COUNT }, async (_, offset) => [ip, offset, await ask('tcp', ip, first + offset)]),
    );
    expect(await Promise.all(asked)).toEqual(
      IPS.flatMap((ip) =>
        Array.from({ length: COUNT }, (_, offset) => [ip, offset, String(row.first + offset)]),
      ),
    );
    const { stdout: list } = await cli('list');
    expect(list.split('\n').filter((line) => line.startsWith('tcp:')).length).toBe(1);
    expect(list).toContain(`${spec}  default  api`);
    expect((await cli('unexpose', spec)).stdout).toBe(`${spec}\n`);
    for (let offset = 0; offset < COUNT; offset++) expect(await refuses(first + offset)).toBe(true);
  });

  it.each(['controlUrl', 'portFsUrl'] as const)('claim holds a range (%s)', async (tree) => {
    const { running, spec, port } = await pair.claim(`${HOSTS}::${rowPorts()}`, pair[tree]);
    expect(spec).toBe(`tcp:${HOSTS}:${port}-${port + COUNT - 1}:tcp:127.0.0.1:${rowPorts()}`);
    for (const ip of IPS)
      for (const offset of [0, COUNT - 1])
        expect(await ask('tcp', ip, port + offset)).toBe(String(row.first + offset));
    await running.kill('SIGKILL');
    for (let offset = 0; offset < COUNT; offset++)
      await until('every port to refuse', () => refuses(port + offset));
    await until('the claim to end', async () => (await listForwards(pair.api)).forwards.length === 0);
  });
});

describe('ports that the agent chooses', () => {
  beforeAll(() => start('auto'));
  afterAll(stop);

  it('are the first free one, of a range that leads to one port', async () => {
    const other = await serveStreams((socket) => socket.end(), choice);
    const container = `tcp:127.0.0.1:${row.first}`;
    const { stdout: first } = await cli('expose', `${choice}-${choice + 2}:${row.first}`);
    expect(first).toBe(`tcp:127.0.0.1:${choice + 1}:${container}\n`);
    const asked = `tcp:127.0.0.1:${choice}-${choice + 2}:${container}`;
    const second = `tcp:127.0.0.1:${choice + 2}:${container}`;
    expect(await expose(asked)).toMatchObject({ spec: second });
    const range = `${choice}-${choice + 2}`;
    expect(await expose(asked)).toEqual({
      code: 'PORT_IN_USE',
      message: `Bind for 127.0.0.1:${range} failed: no port is free in ${range}`,
    });
    for (const spec of [first.trim(), second]) await callApi(pair.api, 'DELETE', { spec });
    await other.close();
  });

  it('are those that every address has, while another process is faster at one', async (context) => {
    if (!ipv6) {
      const why = 'skipped: this machine has no IPv6';
      console.log(why);
      return context.skip(why);
    }
    // It has all ports but one, at ::1 only: whichever is tried first, it is lost there.
    const left = choice + 17;
    const others: Server[] = [];
    for (let port = choice; port < choice + CHOICE; port++) {
      if (port === left) continue;
      const server = createServer().listen({ host: '::1', port });
      await once(server, 'listening');
      others.push(server);
    }
    try {
      const { stdout } = await cli('expose', `${HOSTS}::${row.first}`);
      expect(stdout).toBe(`tcp:${HOSTS}:${left}:tcp:127.0.0.1:${row.first}\n`);
      for (const ip of IPS) expect(await ask('tcp', ip, left)).toBe(String(row.first));
      const refused = await cli('expose', `${HOSTS}::${row.first}`);
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringContaining(`no port is free in ${choice}-${choice + CHOICE - 1} [PORT_IN_USE]`),
      ]);
      expect(await refuses(choice)).toBe(true);
      // A port that was asked for is not made another one.
      expect(await expose(`tcp:${HOSTS}:${choice}:tcp:127.0.0.1:${row.first}`)).toMatchObject({
        message: expect.stringContaining(`Bind for [::1]:${choice} failed: port is already allocated: `),
      });
      await callApi(pair.api, 'DELETE', { spec: stdout.trim() });
    } finally {
      for (const server of others) server.close();
    }
  });

  it('are none for ranges that do not belong together', async () => {
    const { code, stderr } = await cli('expose', '8000-8001:80-90');
    const why = '11 ports in the VM do not belong to 2 on the host';
    expect([code, stderr]).toEqual([2, expect.stringContaining(why)]);
  });
});
