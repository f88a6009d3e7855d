/** A real host agent with a good VM, whose shim is real too, and the place of a hostile one, which an attack takes. */
import { writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { callApi, listForwards } from '../helpers/api.ts';
import type { EngineName } from '../helpers/engines.ts';
import { type Exchange, startExchange } from '../helpers/exchange.ts';
import { mib, residentBytes } from '../helpers/process-figures.ts';
import {
  hostPort,
  logLines,
  loopback,
  ProcessGroup,
  type Running,
  runPortferry,
  until,
} from '../helpers/processes.ts';
import { connectTo } from '../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../helpers/stream-server.ts';
import { MemoryWatch } from './memory-watch.ts';
import { type HelloOptions, RawLink } from './raw-link.ts';

/**
 * What the host agent may grow by over what it had before all attacks, bytes. What our limits let a VM make it keep is a part of
 * that: under a flood V8 lets the young generations of three threads grow, and is late to collect the old one. Only what stays
 * counts (MemoryWatch).
 */
export const MEMORY_BOUND = 256 * 1024 * 1024;
/** Runs in the host agent before it. */
const COLLECT_GARBAGE = new URL('collect-garbage.js', import.meta.url);
const BLOCK = Buffer.alloc(64 * 1024);
/** What the VM with counts may have at once; the other hostile ones may have whatever one VM may. */
export const COUNTS = { forwards: 40, connections: 30, flows: 20 } as const;
const POLICY = `[vm.counted.policy]
max-forwards = ${COUNTS.forwards}
max-connections = ${COUNTS.connections}
max-flows = ${COUNTS.flows}
`;

export class Scene {
  readonly group = new ProcessGroup();
  readonly engine: EngineName;
  /** Where the hostile VM's shim dials: its connections are channels. */
  readonly evil = join(this.group.dir, 'evil.sock');
  /** Where the host agent dials a hostile shim: its connections are dedicated streams. */
  readonly evilListener = join(this.group.dir, 'evil-shim.sock');
  /** The control filesystem of the hostile VM. */
  readonly evilTree = join(this.group.dir, 'evil-tree.sock');
  /** Where the shim of a hostile VM with counts dials. */
  readonly counted = join(this.group.dir, 'counted.sock');
  /** Where the shim of a VM dials that has to prove that it has the token. */
  readonly tokened = join(this.group.dir, 'tokened.sock');
  readonly token = join(this.group.dir, 'token');
  readonly api = join(this.group.dir, 'api.sock');
  host!: Running;
  exchange!: Exchange;
  /** Ports that belong to the good VM. */
  goodPorts: readonly number[] = [];
  /** Ports whose clients are carried to the hostile VM. */
  evilTcp = 0;
  evilUdp = 0;
  dedicatedTcp = 0;
  dedicatedUdp = 0;
  countedTcp = 0;
  countedUdp = 0;
  /** A service of the host that may be published in the hostile VM, and pours at whoever connects. */
  private service: StreamServer | undefined;
  private memoryAtFirst = 0;

  private constructor(engine: EngineName) {
    this.engine = engine;
  }

  static async start(engine: EngineName): Promise<Scene> {
    const scene = new Scene(engine);
    try {
      await scene.open();
      return scene;
    } catch (error) {
      await scene.close();
      throw error;
    }
  }

  /** A link of the hostile VM; what it is sent goes unread unless the attack reads it. */
  link(options?: HelloOptions): Promise<RawLink> {
    return RawLink.up(this.evil, options);
  }

  /** A client of the hostile VM's forward, and the channel that the host agent opened for it. */
  async channel(link: RawLink): Promise<{ id: number; client: Awaited<ReturnType<typeof connectTo>> }> {
    const client = await connectTo(this.evilTcp);
    return { id: await link.opened(), client };
  }

  /** How many forwards a VM has by claims of its shim. */
  async claimed(vm: string): Promise<number> {
    const { forwards } = await listForwards(this.api);
    return forwards.filter(({ owner }) => owner === `shim:${vm}`).length;
  }

  /** How often the host agent has logged something at this level or above (pino's: 40 is a warning). */
  logged(text: string, level: number): number {
    return logLines(this.host.stderr()).filter((line) => line.level >= level && line.msg?.includes(text))
      .length;
  }

  /** The counters of a forward of this VM at this port. */
  async stats(port: number): Promise<Record<string, number>> {
    const { forwards } = await listForwards(this.api);
    return forwards.find(({ spec }) => hostPort(spec) === port)!.stats;
  }

  /** Begins to watch how much memory the host agent has over what it had first. */
  watchMemory(): MemoryWatch {
    const grown = () => {
      const { child, pid } = this.host;
      const ended = child.exitCode !== null || child.signalCode !== null; // said elsewhere
      return ended ? 0 : residentBytes(pid) - this.memoryAtFirst;
    };
    return new MemoryWatch(grown, MEMORY_BOUND, () => this.host.child.kill('SIGUSR2'));
  }

  get servicePort(): number {
    return this.service!.port;
  }

  /** Connections that the service of the host has had. */
  get serviceEver(): number {
    return this.service!.accepted();
  }

  /** Connections that the service of the host has. */
  get serviceClients(): number {
    return this.service!.sockets.size;
  }

  get memory(): string {
    return mib(this.memoryAtFirst);
  }

  async close(): Promise<void> {
    await this.group.close();
    await this.exchange?.close();
    await this.service?.close();
  }

  async expose(vm: string, spec: string): Promise<number> {
    const { status, body } = await callApi(this.api, 'POST', { vm, spec });
    if (status !== 201) throw new Error(`expose ${spec} for ${vm}: ${JSON.stringify(body)}`);
    return hostPort((body as { spec: string }).spec);
  }

  private pour(socket: Socket): void {
    const more = (): void => {
      while (!socket.destroyed && socket.write(BLOCK));
    };
    socket.on('error', () => {}).on('drain', more);
    socket.resume();
    more();
  }

  private async open(): Promise<void> {
    const { group, engine } = this;
    this.exchange = await startExchange();
    const config = join(group.dir, 'config.toml');
    this.service = await serveStreams((socket) => {
      this.pour(socket);
    });
    const { port } = this.service;
    writeFileSync(config, `${POLICY}[vm.evil.policy]\nallow-reverse = ["127.0.0.1:${port}"]\n`);
    const made = await runPortferry('token', this.token);
    if (made.code !== 0) throw new Error(`no token: ${made.stderr}`);
    group.start('vm-shim', '--listen', group.unixUrl('good.sock'), '--engine', engine);
    group.start('vm-shim', '--connect', group.unixUrl('good-mux.sock'), '--engine', engine);
    this.host = group.startWith(
      { NODE_OPTIONS: `--import ${COLLECT_GARBAGE.href}` },
      'host-agent',
      ...[
        '--connect',
        `good=${group.unixUrl('good.sock')}`,
        '--listen',
        `good-mux=${group.unixUrl('good-mux.sock')}`,
      ],
      ...['--listen', `evil=unix://${this.evil}`, '--connect', `evil-dialled=unix://${this.evilListener}`],
      ...['--config', config, '--listen', `counted=unix://${this.counted}`],
      ...['--listen', `tokened=unix://${this.tokened}`, '--token-file', `tokened=${this.token}`],
      ...['--control', `evil=unix://${this.evilTree}`, '--api', this.api, '--engine', engine],
    );
    await until('the good VMs', async () => {
      if (this.host.child.exitCode !== null) throw new Error(`host agent ended: ${this.host.stderr()}`);
      const list = await listForwards(this.api).catch(() => undefined);
      return list?.vms.filter(({ name, up }) => name.startsWith('good') && up).length === 2;
    });
    const to = loopback('tcp', this.exchange.port);
    this.goodPorts = [await this.expose('good', to), await this.expose('good-mux', to)];
    this.evilTcp = await this.expose('evil', loopback('tcp', 9));
    this.evilUdp = await this.expose('evil', loopback('udp', 9));
    this.dedicatedTcp = await this.expose('evil-dialled', loopback('tcp', 9));
    this.dedicatedUdp = await this.expose('evil-dialled', loopback('udp', 9));
    this.countedTcp = await this.expose('counted', loopback('tcp', 9));
    this.countedUdp = await this.expose('counted', loopback('udp', 9));
    for (const port of this.goodPorts)
      for (let i = 0; i < 50; i++) await this.exchange.whole(port, 100_000, 100_000);
    this.memoryAtFirst = residentBytes(this.host.pid);
  }
}
