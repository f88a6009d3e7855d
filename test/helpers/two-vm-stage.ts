/** A host agent and the shims of two VMs in this process, for suites on what limits them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Agent, startAgent } from '../../host-agent/agent.ts';
import { type HostConfig, hostConfig } from '../../host-agent/config.ts';
import { HOST_SCHEMA } from '../../host-agent/schema.ts';
import type { AgentLimits } from '../../host-agent/vm-limits.ts';
import { silentLogger } from '../../shared/logger.ts';
import { parseSettings } from '../../shared/settings/read-settings.ts';
import type { Settings } from '../../shared/settings/settings.ts';
import { shimConfig } from '../../vm-shim/config.ts';
import { startShim } from '../../vm-shim/shim.ts';
import { callApi, listForwards } from './api.ts';
import type { EngineName } from './engines.ts';
import { hostPort, loopback, until } from './processes.ts';
import { roundTrip } from './stream-client.ts';
import { type StreamServer, serveStreams } from './stream-server.ts';
import type { UdpPeer } from './udp-peer.ts';

/** Those who come at once in `fill`. */
export const CLIENTS = 30;
export const PLENTY: AgentLimits = {
  connections: 1_000,
  connectionsPerVm: 1_000,
  connectionsPerForward: 1_000,
  flowsPerForward: 10,
};

/** Two VMs, `a` and `b`; the first has two forwards. All lead to one container, which answers. */
export class Stage {
  readonly agent: Agent;
  readonly ports: number[] = [];
  /** Most connections that the container has had at once. */
  most = 0;
  private readonly config: HostConfig;
  private readonly clients = new Set<Socket>();
  readonly container: StreamServer;
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

  /** @param lines of the configuration file, which `enforce` replaces */
  static async set(engine: EngineName, limits: AgentLimits, ...lines: string[]): Promise<Stage> {
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
    const config = hostConfig(options, settingsOf(lines));
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

function settingsOf(lines: readonly string[]): Settings {
  return parseSettings(lines.join('\n'), 'test.toml', HOST_SCHEMA);
}

/** Sends until something comes back. */
export async function answered(client: UdpPeer, port: number): Promise<void> {
  client.received.length = 0;
  let looks = 0;
  await until('an answer', () => {
    if (looks++ % 20 === 0) client.send(Buffer.from('hello'), port);
    return client.received.length > 0;
  });
}
