/** What a request with several ports and addresses means, on each engine. */
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Agent, startAgent } from '../../host-agent/agent.ts';
import { hostConfig } from '../../host-agent/config.ts';
import { formatEndpoint } from '../../shared/ip.ts';
import { silentLogger } from '../../shared/logger.ts';
import { formatSpec, type InetSpec, parseSpec } from '../../shared/port-spec.ts';
import { shimConfig } from '../../vm-shim/config.ts';
import { type Shim, startShim } from '../../vm-shim/shim.ts';
import { callApi, listForwards } from '../helpers/api.ts';
import { type EngineName, engines } from '../helpers/engines.ts';
import { ask, hasIpv6, type PortRow, portRow } from '../helpers/port-row.ts';
import { until } from '../helpers/processes.ts';
import { fateOf, refuses } from '../helpers/stream-client.ts';
import { serveStreams } from '../helpers/stream-server.ts';
import { udpPeer } from '../helpers/udp-peer.ts';

const COUNT = 5;
const LIMIT = 4;
const both = await hasIpv6();
if (!both) console.log('only IPv4 is tested: this machine has no IPv6');
const HOSTS = both ? '127.0.0.1,[::1]' : '127.0.0.1';
const IPS = both ? ['127.0.0.1', '::1'] : ['127.0.0.1'];

class Stage {
  readonly api: string;
  private readonly agent: Agent;
  private readonly shim: Shim;
  private readonly dir: string;

  private constructor(agent: Agent, shim: Shim, dir: string) {
    this.agent = agent;
    this.shim = shim;
    this.dir = dir;
    this.api = join(dir, 'api.sock');
  }

  static async set(engine: EngineName, portRange?: string): Promise<Stage> {
    const dir = await mkdtemp(join(tmpdir(), 'portferry-'));
    const log = silentLogger();
    const shim = await startShim(shimConfig({ listen: `unix://${dir}/vm.sock`, engine }), log);
    const options = { connect: [shim.url!], api: `${dir}/api.sock`, engine, workers: '2' };
    const config = hostConfig({ ...options, ...(portRange === undefined ? {} : { portRange }) });
    const limits = {
      connections: 100,
      connectionsPerVm: 100,
      connectionsPerForward: LIMIT,
      flowsPerForward: 10,
    };
    const made = new Stage(await startAgent(config, log, limits), shim, dir);
    // Its descriptors are this process's too.
    await until('the link', async () => (await listForwards(made.api)).vms.every(({ up }) => up));
    return made;
  }

  /** @throws the answer of the API */
  async expose(spec: string): Promise<InetSpec> {
    const { status, body } = await callApi(this.api, 'POST', { spec });
    if (status !== 201) throw body;
    return parseSpec((body as { spec: string }).spec) as InetSpec;
  }

  async close(): Promise<void> {
    await this.agent.close();
    await this.shim.close();
    await rm(this.dir, { recursive: true, force: true });
  }
}

let stage: Stage | undefined;
let row: PortRow | undefined;
afterEach(async () => {
  await stage?.close();
  await row?.close();
  stage = undefined;
  row = undefined;
});

const descriptors = (): number | undefined => {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined; // no /proc on this system
  }
};

describe.each(engines)('on the %s engine', (engine) => {
  describe.each(['tcp', 'udp'] as const)('%s', (protocol) => {
    it('each port of a range, at each address, leads to its own in the VM', async () => {
      row = await portRow(protocol, COUNT);
      stage = await Stage.set(engine);
      const last = row.first + COUNT - 1;
      const { hostIps, hostPorts } = await stage.expose(
        `${protocol}:${HOSTS}:0:${protocol}:127.0.0.1:${row.first}-${last}`,
      );
      expect(hostIps).toEqual(IPS);
      expect(hostPorts.last - hostPorts.first + 1).toBe(COUNT);
      for (const ip of IPS)
        for (let offset = 0; offset < COUNT; offset++)
          expect(await ask(protocol, ip, hostPorts.first + offset)).toBe(String(row.first + offset));
      const { forwards } = await listForwards(stage.api);
      expect(forwards.length).toBe(1);
      const { connections, flows_created } = forwards[0]!.stats;
      expect(connections ?? flows_created).toBe(COUNT * IPS.length);
    });

    it('so it does at all addresses of the machine', async () => {
      row = await portRow(protocol, 2);
      stage = await Stage.set(engine);
      const all = both ? '0.0.0.0,[::]' : '0.0.0.0';
      const { hostPorts } = await stage.expose(
        `${protocol}:${all}:0:${protocol}:127.0.0.1:${row.first}-${row.first + 1}`,
      );
      for (const ip of IPS)
        for (const offset of [0, 1])
          expect(await ask(protocol, ip, hostPorts.first + offset)).toBe(String(row.first + offset));
    });

    it('one port in the middle that is taken leaves all others free, and no descriptor open', async () => {
      stage = await Stage.set(engine);
      const first = await stage.expose(`${protocol}:127.0.0.1:0:${protocol}:127.0.0.1:7000-7009`);
      const range = `${first.hostPorts.first}-${first.hostPorts.last}`;
      const spec = `${protocol}:127.0.0.1:${range}:${protocol}:127.0.0.1:7000-7009`;
      expect((await callApi(stage.api, 'DELETE', { spec })).status).toBe(200);
      const middle = first.hostPorts.first + 5;
      const other =
        protocol === 'tcp' ? await serveStreams((socket) => socket.end(), middle) : await udpPeer(middle);
      try {
        await expect(stage.expose(spec)).rejects.toMatchObject({
          code: 'PORT_IN_USE',
          message: expect.stringContaining(
            `Bind for ${formatEndpoint('127.0.0.1', middle)} failed: port is already allocated`,
          ),
        });
        const before = descriptors();
        await expect(stage.expose(spec)).rejects.toMatchObject({ code: 'PORT_IN_USE' });
        await until('no more descriptors than before', () => (descriptors() ?? 0) <= (before ?? 0));
        expect((await listForwards(stage.api)).forwards).toEqual([]);
        if (protocol === 'tcp')
          for (let port = first.hostPorts.first; port <= first.hostPorts.last; port++)
            expect(await refuses(port)).toBe(port !== middle);
      } finally {
        await other.close();
      }
      expect((await stage.expose(spec)).hostPorts).toEqual(first.hostPorts);
    });

    it('chosen ports go round --port-range, which an error names', async () => {
      const free = await portRow(protocol, 3);
      await free.close();
      const range = `${free.first}-${free.first + 2}`;
      stage = await Stage.set(engine, range);
      const spec = `${protocol}:127.0.0.1:0:${protocol}:127.0.0.1:7000`;
      const specs = [await stage.expose(spec), await stage.expose(spec), await stage.expose(spec)];
      const ports = specs.map(({ hostPorts }) => hostPorts.first);
      expect(new Set(ports)).toEqual(new Set([free.first, free.first + 1, free.first + 2]));
      expect(ports[1]).toBe(ports[0] === free.first + 2 ? free.first : ports[0]! + 1);
      await expect(stage.expose(spec)).rejects.toEqual({
        code: 'PORT_IN_USE',
        message: `Bind for 127.0.0.1:0 failed: no port is free in ${range}`,
      });
    });
  });

  it('each of its ports waits for its own container', async () => {
    row = await portRow('tcp', 2);
    stage = await Stage.set(engine);
    const only = row.first + 1;
    await row.closeFirst();
    const { hostPorts } = await stage.expose(
      `tcp:127.0.0.1:0:tcp:127.0.0.1:${row.first}-${only}?wait=listening`,
    );
    const state = async () => (await listForwards(stage!.api)).forwards[0]!.state;
    await until('one of them to listen', async () => (await state()) === '1 of 2 listening');
    expect(await ask('tcp', '127.0.0.1', hostPorts.last)).toBe(String(only));
    expect(await refuses(hostPorts.first)).toBe(true);
  });

  it('connections of all its ports count together, and end together', async () => {
    let clientsOfRow = 0;
    row = await portRow('tcp', 2, (socket, port) => {
      clientsOfRow++;
      socket.on('close', () => clientsOfRow--);
      socket.write(String(port));
    });
    stage = await Stage.set(engine);
    const exposed = await stage.expose(`tcp:${HOSTS}:0:tcp:127.0.0.1:${row.first}-${row.first + 1}`);
    const { hostPorts } = exposed;
    const ends = Array.from({ length: LIMIT }, (_, i) => ({
      host: IPS[i % IPS.length]!,
      port: i < LIMIT / 2 ? hostPorts.first : hostPorts.last,
    }));
    const clients = ends.map((end) => connect(end));
    for (const client of clients) {
      client.on('error', () => {});
      await once(client, 'data');
    }
    const stats = async () => (await listForwards(stage!.api)).forwards[0]!.stats;
    expect([clientsOfRow, (await stats()).active]).toEqual([LIMIT, LIMIT]);
    for (const end of ends) {
      const { how } = await fateOf(connect(end));
      expect(how).toBe('ECONNRESET');
    }
    expect(await stats()).toMatchObject({ connections: 2 * LIMIT, active: LIMIT, refused_by_limit: LIMIT });
    expect((await callApi(stage.api, 'DELETE', { spec: formatSpec(exposed), now: true })).status).toBe(200);
    await until('all to be reset', () => clients.every((client) => client.destroyed) && clientsOfRow === 0);
    for (const { port } of ends) expect(await refuses(port)).toBe(true);
  });
});
