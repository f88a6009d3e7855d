/**
 * A host agent and a VM shim of one lane and engine, with proxies between everything: on the link, before both control
 * filesystems and before the API. It ends programs, and starts them again as a supervisor would.
 */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { callApi } from '../helpers/api.ts';
import { DatagramClient } from '../helpers/datagram-client.ts';
import type { EngineName } from '../helpers/engines.ts';
import { type Exchange, startExchange, type Transfer } from '../helpers/exchange.ts';
import { PieceProxy } from '../helpers/piece-proxy.ts';
import { canListen } from '../helpers/port-is-free.ts';
import {
  logLines,
  loopback,
  ProcessGroup,
  type Running,
  runPortferry,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import type { Seeded } from '../helpers/seeded.ts';
import { type UdpPeer, udpEcho } from '../helpers/udp-peer.ts';
import { ChunkCutter, LinkCutter, P9Cutter } from '../helpers/wire-pieces.ts';
import { Claimer } from './claimer.ts';
import type { Fault } from './fault.ts';
import type { Lane, Place } from './points.ts';
import { StepServer } from './step-server.ts';

/** How long a program may take to start on a busy machine, milliseconds. */
const START_MS = 30_000;
/** Runs in the host agent before it, and says when it writes its state file. */
const STEPS = new URL('state-steps.js', import.meta.url);
/** Below the ports that systems give out by themselves, so that nobody else takes one while its forward is gone. */
const PORTS = { least: 20_000, most: 31_999 };

export class Site {
  readonly group = new ProcessGroup();
  readonly lane: Lane;
  readonly engine: EngineName;
  readonly api: string;
  /** What stands before the API. */
  readonly tappedApi: string;
  readonly vmTree: string;
  readonly hostTree: string;
  private readonly token: string;
  private readonly state: string;
  host!: Running;
  shim!: Running;
  /** What waits to strike. */
  fault: Fault | undefined;
  exchange!: Exchange;
  /** Transfers whose outcome has not been looked at. */
  readonly transfers: Transfer[] = [];
  udp!: UdpPeer;
  datagrams!: DatagramClient;
  /** Claimers that a supervisor keeps, and specs that an operator exposes. */
  readonly claimers: Claimer[] = [];
  readonly exposed: string[] = [];
  /** The container's port, as a service of the host that is published in the VM. */
  reverse = '';
  /** Transfers whose client is in the VM. */
  readonly fromVm = new Set<Transfer>();
  private readonly proxies = new Map<Place, PieceProxy>();
  private steps: StepServer | undefined;
  private readonly random: Seeded;

  private constructor(lane: Lane, engine: EngineName, random: Seeded) {
    this.lane = lane;
    this.engine = engine;
    this.random = random;
    const { group } = this;
    this.api = join(group.dir, 'api.sock');
    this.tappedApi = join(group.dir, 'tapped-api.sock');
    this.vmTree = group.unixUrl('tapped-vm-tree.sock');
    this.hostTree = group.unixUrl('tapped-host-tree.sock');
    this.token = join(group.dir, 'token');
    this.state = join(realpathSync(group.dir), 'state');
  }

  static async start(lane: Lane, engine: EngineName, random: Seeded): Promise<Site> {
    const site = new Site(lane, engine, random);
    try {
      await site.open();
      return site;
    } catch (error) {
      await site.close();
      throw error;
    }
  }

  get name(): string {
    return `${this.lane}/${this.engine}`;
  }

  /** Whether it is the shim that dials. */
  private get dials(): boolean {
    return this.lane === 'shim-dialled';
  }

  /** Whether the sides prove to each other that they have a token. */
  private get tokens(): boolean {
    return this.lane !== 'multiplexed';
  }

  private get tokenOption(): string[] {
    return this.tokens ? ['--token-file', this.token] : [];
  }

  /** Where test programs of a kind are, by pid; those that have ended are not among them. */
  isUp(which: 'host' | 'shim'): boolean {
    const { child } = this[which];
    return child.exitCode === null && child.signalCode === null;
  }

  /** Ends a program at once and waits until it is gone. */
  async kill(which: 'host' | 'shim'): Promise<void> {
    const gone = new Promise((resolve) => this[which].child.once('exit', resolve));
    if (!this.isUp(which)) return;
    void this[which].kill('SIGKILL');
    await gone;
  }

  /** Breaks streams between host agent and shim: the link, or all. @returns how many */
  cut(what: 'link' | 'transport'): number {
    return this.proxies.get('link')!.cut(what === 'link' ? 'hello' : undefined);
  }

  /** Starts what is not running, and waits until it says that it is ready. */
  async restart(): Promise<void> {
    if (!this.isUp('shim')) this.startShim();
    if (!this.isUp('host')) this.startHost();
    const shimReady = this.dials ? 'the control filesystem is served' : 'the VM shim listens';
    await until('the shim to be ready', () => this.shim.stderr().includes(shimReady), START_MS);
    await until(
      'the host agent to be ready',
      () => this.host.stderr().includes('the host agent is ready'),
      START_MS,
    );
  }

  /** A loopback port that nobody has, of those that systems do not give out. */
  async freePort(): Promise<number> {
    for (;;) {
      const port = this.random.between(PORTS.least, PORTS.most);
      if (await canListen(port, '0.0.0.0')) return port;
    }
  }

  /** A TCP forward to the stand-in container, at a port that is free. */
  async newSpec(): Promise<string> {
    return loopback('tcp', this.exchange.port, await this.freePort());
  }

  /** A reverse forward of the same, at a port in the VM that is free. */
  async newReverseSpec(): Promise<string> {
    return `reverse:tcp:127.0.0.1:${this.exchange.port}:tcp:127.0.0.1:${await this.freePort()}`;
  }

  /** The last lines that both programs logged. */
  tail(lines: number): string {
    const of = (name: string, { stderr, child }: Running) =>
      [
        `${name} (pid ${child.pid}, ${child.exitCode ?? child.signalCode ?? 'runs'}):`,
        ...logLines(stderr())
          .slice(-lines)
          .map(({ time, level, msg, ...rest }) => {
            const { pid: _, name: __, ...fields } = rest;
            return `  ${time} ${level} ${msg} ${JSON.stringify(fields)}`.slice(0, 300);
          }),
      ].join('\n');
    return [of('host agent', this.host), of('VM shim', this.shim)].join('\n');
  }

  async close(): Promise<void> {
    await this.group.close();
    await Promise.all([...this.proxies.values()].map((proxy) => proxy.close()));
    await this.steps?.close();
    await Promise.all([this.exchange?.close(), this.udp?.close(), this.datagrams?.close()]);
  }

  private async open(): Promise<void> {
    const { dir } = this.group;
    [this.exchange, this.udp] = await Promise.all([startExchange(), udpEcho()]);
    this.datagrams = await DatagramClient.start();
    // Streams are answered by the shim, whoever has opened them.
    const answers = this.dials ? 'up' : 'down';
    const cutter = (way: 'up' | 'down') => new LinkCutter(way === answers, this.tokens);
    await this.proxy('link', 'link.sock', this.dials ? 'host.sock' : 'shim.sock', cutter);
    this.steps = await StepServer.start(join(dir, 'steps.sock'), (kind) =>
      this.fault?.at('state file', { direction: 'up', kind, opening: '' }),
    );
    const made = await runPortferry('token', this.token);
    if (made.code !== 0) throw new Error(`no token: ${made.stderr}`);
    await this.proxy('VM tree', 'tapped-vm-tree.sock', 'vm-tree.sock', () => new P9Cutter());
    await this.proxy('host tree', 'tapped-host-tree.sock', 'host-tree.sock', () => new P9Cutter());
    await this.proxy('API', 'tapped-api.sock', 'api.sock', () => new ChunkCutter());
    this.startShim();
    this.startHost();
    await this.restart();
    await untilLinked(this.host, this.api);
    this.exposed.push(
      await this.newSpec(),
      loopback('udp', this.udp.port, await this.freePort()),
      `tcp:0.0.0.0:${await this.freePort()}:tcp:127.0.0.1:${this.exchange.port}`,
    );
    this.reverse = await this.newReverseSpec();
    for (const spec of [...this.exposed, this.reverse]) {
      const { status, body } = await callApi(this.api, 'POST', { spec });
      if (status !== 201) throw new Error(`expose ${spec}: ${JSON.stringify(body)}`);
    }
    for (const tree of [this.vmTree, this.hostTree])
      this.claimers.push(new Claimer(this.group, tree, await this.newSpec()));
    await Promise.all(this.claimers.map((claimer) => claimer.keep(Date.now() + START_MS)));
    if (dir.length > 60) throw new Error(`the directory for sockets has too long a name: ${dir}`);
  }

  private async proxy(
    place: Place,
    listen: string,
    target: string,
    cutter: (direction: 'up' | 'down') => LinkCutter | P9Cutter | ChunkCutter,
  ): Promise<void> {
    const { dir } = this.group;
    const turned = place === 'link' && this.dials;
    const watch = (seen: Parameters<Fault['at']>[1]) =>
      this.fault?.at(place, turned ? { ...seen, direction: seen.direction === 'up' ? 'down' : 'up' } : seen);
    const options = { listen: join(dir, listen), target: join(dir, target), cutter, watch };
    this.proxies.set(place, await PieceProxy.start(options));
  }

  private startShim(): void {
    const { group, engine } = this;
    const link = this.dials
      ? ['--connect', group.unixUrl('link.sock')]
      : ['--listen', group.unixUrl('shim.sock')];
    const urls = [...link, '--port-fs', group.unixUrl('vm-tree.sock'), ...this.tokenOption];
    this.shim = group.start('vm-shim', ...urls, '--engine', engine, '--log-level', 'debug');
  }

  private startHost(): void {
    const { group, engine, api } = this;
    const link = this.dials
      ? ['--listen', group.unixUrl('host.sock')]
      : ['--connect', group.unixUrl('link.sock')];
    const urls = [...link, '--control', group.unixUrl('host-tree.sock'), ...this.tokenOption];
    const lane = this.lane === 'multiplexed' ? 'multiplexed' : 'dedicated';
    const how = ['--lane', lane, '--engine', engine, '--log-level', 'debug', '--state', this.state];
    how.push('--allow-reverse', '127.0.0.1');
    const env = {
      NODE_OPTIONS: `--import ${STEPS.href}`,
      PORTFERRY_TEST_STEPS: join(group.dir, 'steps.sock'),
      PORTFERRY_TEST_STATE: this.state,
    };
    this.host = group.startWith(env, 'host-agent', ...urls, '--api', api, ...how);
  }
}
