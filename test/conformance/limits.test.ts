/** Limits of connections hold exactly, whichever thread of the host agent accepts, and slots come back. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Agent, startAgent } from '../../host-agent/agent.ts';
import { type HostConfig, hostConfig } from '../../host-agent/config.ts';
import { HOST_SCHEMA } from '../../host-agent/schema.ts';
import type { AgentLimits } from '../../host-agent/vm-limits.ts';
import { silentLogger } from '../../shared/logger.ts';
import { parseSettings } from '../../shared/settings/read-settings.ts';
import type { Settings } from '../../shared/settings/settings.ts';
import { shimConfig } from '../../vm-shim/config.ts';
import { startShim } from '../../vm-shim/shim.ts';
import { callApi, listForwards } from '../helpers/api.ts';
import { type EngineName, engines } from '../helpers/engines.ts';
import { hostPort, loopback, until } from '../helpers/processes.ts';
import { roundTrip } from '../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../helpers/stream-server.ts';
import { type UdpPeer, udpEcho, udpPeer } from '../helpers/udp-peer.ts';

const LIMIT = 5;
const CLIENTS = 30;
const PLENTY: AgentLimits = {
  connections: 1_000,
  connectionsPerVm: 1_000,
  connectionsPerForward: 1_000,
  flowsPerForward: 10,
};

/** Two VMs; the first has two forwards. All lead to one container, which answers. */
class Stage {
  readonly agent: Agent;
  readonly ports: number[] = [];
  /** Most connections that the container has had at once. */
  most = 0;
  private readonly config: HostConfig;
  private readonly clients = new Set<Socket>();
  private readonly container: StreamServer;
  private readonly dir: string;
  private readonly closers: Array<() => Promise<void>>;

  private constructor(
    agent: Agent,
    config: HostConfig,
    container: StreamServer,
    dir: string,
    closers: Stage['closers'],
  ) {
    this.agent = agent;
    this.config = config;
    this.container = container;
    this.dir = dir;
    this.closers = closers;
  }

  static async set(engine: EngineName, limits: AgentLimits, ...policy: string[]): Promise<Stage> {
    const dir = await mkdtemp(join(tmpdir(), 'portferry-'));
    const log = silentLogger();
    const container = await serveStreams((socket) => {
      stage.most = Math.max(stage.most, container.sockets.size);
      socket.pipe(socket);
    });
    const shims = await Promise.all(
      ['a', 'b'].map((vm) => startShim(shimConfig({ listen: `unix://${dir}/${vm}.sock`, engine }), log)),
    );
    const links = ['a', 'b'].map((vm, index) => `${vm}=${shims[index]!.url}`);
    const options = { connect: links, api: `${dir}/api.sock`, engine, workers: '3' };
    const config = hostConfig(options, settingsOf(policy));
    const agent = await startAgent(config, log, limits);
    const closers = [agent, ...shims, container].map((each) => () => each.close());
    const stage = new Stage(agent, config, container, dir, closers);
    for (const vm of ['a', 'a', 'b']) {
      const { body } = await callApi(stage.api, 'POST', { spec: loopback('tcp', container.port), vm });
      stage.ports.push(hostPort((body as { spec: string }).spec));
    }
    // Those who come before a link is up are the main thread's.
    for (const port of stage.ports) expect(await roundTrip(port, 'hello')).toBe('hello');
    await stage.quiet();
    stage.most = 0;
    return stage;
  }

  get api(): string {
    return join(this.dir, 'api.sock');
  }

  /** Connects many at once, to these ports in turn. @returns who was served; all others were reset */
  async fill(ports: readonly number[]): Promise<Socket[]> {
    const fates = await Promise.all(
      Array.from({ length: CLIENTS }, (_, index) => this.fate(ports[index % ports.length]!)),
    );
    return fates.filter((socket) => socket !== undefined);
  }

  /** Has the agent take another policy. */
  enforce(...lines: string[]): Promise<void> {
    return this.agent.enforce({ ...this.config, settings: settingsOf(lines) });
  }

  /** Publishes another port of the first VM; answers the resolved spec. */
  async expose(spec: string): Promise<string> {
    const { body } = await callApi(this.api, 'POST', { spec, vm: 'a' });
    return (body as { spec: string }).spec;
  }

  async statsOf(spec: string): Promise<Record<string, number> | undefined> {
    return (await listForwards(this.api)).forwards.find((each) => each.spec === spec)?.stats;
  }

  async sum(what: string): Promise<number> {
    const { forwards } = await listForwards(this.api);
    return forwards.reduce((sum, { stats }) => sum + stats[what]!, 0);
  }

  /** Ends all clients and waits until nobody has them any more. */
  async quiet(): Promise<void> {
    for (const client of this.clients) client.destroy();
    this.clients.clear();
    await until(
      'nobody to be connected',
      async () => (await this.sum('active')) === 0 && this.container.sockets.size === 0,
    );
  }

  async close(): Promise<void> {
    for (const client of this.clients) client.destroy();
    for (const close of this.closers) await close();
    await rm(this.dir, { recursive: true, force: true });
  }

  private fate(port: number): Promise<Socket | undefined> {
    const socket = connect({ host: '127.0.0.1', port });
    this.clients.add(socket);
    socket.write('hello');
    return new Promise((resolve) => {
      socket.on('data', () => resolve(socket));
      socket.on('error', () => {});
      socket.on('close', () => resolve(undefined));
    });
  }
}

let stage: Stage | undefined;

afterEach(async () => {
  await stage?.close();
  stage = undefined;
});

describe.each(engines)('on the %s engine', (engine) => {
  it.each([
    ['a forward', { connectionsPerForward: LIMIT }, [0], [1]],
    ['a VM', { connectionsPerVm: LIMIT }, [0, 1], [2]],
    ['all', { connections: LIMIT }, [0, 1, 2], []],
  ] as const)('connections of %s', async (_what, limit, limited, others) => {
    stage = await Stage.set(engine, { ...PLENTY, ...limit });
    const { ports } = stage;
    const crowded = limited.map((index) => ports[index]!);
    const served = await stage.fill(crowded);
    expect([served.length, stage.most, await stage.sum('active')]).toEqual([LIMIT, LIMIT, LIMIT]);
    expect(await stage.sum('refused_by_limit')).toBe(CLIENTS - LIMIT);
    expect(await stage.sum('resets')).toBe(CLIENTS - LIMIT);
    for (const index of others) expect(await roundTrip(ports[index]!, 'not concerned')).toBe('not concerned');

    await stage.quiet();
    stage.most = 0;
    expect((await stage.fill(crowded)).length).toBe(LIMIT);
    expect(stage.most).toBe(LIMIT);
  });
});

describe.each(engines)('the policy of a VM, as it is now, on the %s engine', (engine) => {
  it('limits its connections', async () => {
    stage = await Stage.set(engine, PLENTY);
    const [first, second, other] = stage.ports;
    await stage.enforce('[vm.a.policy]', 'max-connections = 3');
    expect((await stage.fill([first!, second!])).length).toBe(3);
    expect(await roundTrip(other!, 'not concerned')).toBe('not concerned');
    await stage.quiet();
    await stage.enforce('[vm.a.policy]');
    expect((await stage.fill([first!, second!])).length).toBe(CLIENTS);
  });

  it('limits its new connections a second', async () => {
    stage = await Stage.set(engine, PLENTY);
    const [first, second, other] = stage.ports;
    await stage.enforce('[vm.a.policy]', 'new-connections-per-second = 1');
    const began = performance.now();
    const served = (await stage.fill([first!, second!])).length;
    const seconds = (performance.now() - began) / 1_000;
    expect(served).toBeGreaterThan(0);
    expect(served).toBeLessThanOrEqual(2 + seconds);
    expect(await stage.sum('refused_by_limit')).toBe(CLIENTS - served);
    expect(await roundTrip(other!, 'not concerned')).toBe('not concerned');
  });

  it('limits its bytes a second, and those of no other', async () => {
    const bytes = 1_000_000;
    stage = await Stage.set(engine, PLENTY, '[vm.a.policy]', `bytes-per-second = ${bytes}`);
    const [first, second, other] = stage.ports;
    const payload = Buffer.alloc(250_000, 'x').toString();
    const began = performance.now();
    // There and back, so twice what is sent.
    const [one, two] = await Promise.all([roundTrip(first!, payload), roundTrip(second!, payload)]);
    const seconds = (performance.now() - began) / 1_000;
    expect([one, two]).toEqual([payload, payload]);
    // The last pieces are not waited for, nor the first tenth of a second.
    expect(seconds).toBeGreaterThan((4 * 250_000 - 4 * 65_536) / bytes - 0.2);
    expect(await roundTrip(other!, payload)).toBe(payload);
    await stage.enforce('[vm.a.policy]', `bytes-per-second = ${1000 * bytes}`);
    expect(await roundTrip(first!, payload)).toBe(payload);
  });

  it('limits its UDP flows, but lets each forward have one', async () => {
    stage = await Stage.set(engine, PLENTY);
    await stage.enforce('[vm.a.policy]', 'max-flows = 2');
    const container = await udpEcho();
    const clients = await Promise.all(Array.from({ length: 4 }, () => udpPeer()));
    try {
      const [first, second] = [
        await stage.expose(loopback('udp', container.port)),
        await stage.expose(loopback('udp', container.port)),
      ];
      for (const client of clients.slice(0, 3)) await answered(client, hostPort(first!));
      expect(await stage.statsOf(first!)).toMatchObject({ flows: 2, flows_created: 3, flows_evicted: 1 });
      await answered(clients[3]!, hostPort(second!));
      await answered(clients[2]!, hostPort(second!));
      expect(await stage.statsOf(second!)).toMatchObject({ flows: 1, flows_created: 2, flows_evicted: 1 });
      await callApi(stage.api, 'DELETE', { spec: first });
      await answered(clients[0]!, hostPort(second!));
      expect(await stage.statsOf(second!)).toMatchObject({ flows: 2, flows_evicted: 1 });
    } finally {
      await Promise.all([container, ...clients].map((each) => each.close()));
    }
  });
});

function settingsOf(lines: readonly string[]): Settings {
  return parseSettings(lines.join('\n'), 'test.toml', HOST_SCHEMA);
}

/** Sends until something comes back. */
async function answered(client: UdpPeer, port: number): Promise<void> {
  client.received.length = 0;
  let looks = 0;
  await until('an answer', () => {
    if (looks++ % 20 === 0) client.send(Buffer.from('hello'), port);
    return client.received.length > 0;
  });
}

describe.skipIf(!engines.includes('linux'))('slots', () => {
  it('come back when a worker dies with its connections', async () => {
    stage = await Stage.set('linux', { ...PLENTY, connectionsPerVm: LIMIT });
    const { agent, ports } = stage;
    const crowded = [ports[0]!, ports[1]!];
    for (let index = 0; index < 3; index++) {
      expect((await stage.fill(crowded)).length).toBe(LIMIT);
      const dying = agent.threads!.threads[index]!;
      await dying.terminate();
      await until('another worker', () => {
        const { threads } = agent.threads!;
        return threads.length === 3 && !threads.includes(dying);
      });
      await stage.quiet();
    }
    stage.most = 0;
    expect((await stage.fill(crowded)).length).toBe(LIMIT);
    expect(stage.most).toBe(LIMIT);
  });
});
