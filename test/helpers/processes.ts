/**
 * Real portferry processes for integration tests. Everything started here is ended by `close`, by pid.
 * The tests run the built program (`npm test` builds first).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { callApi, type ForwardList, listForwards } from './api.ts';

/** The built program. Helpers that are built themselves, and so run inside dist, use it as well. */
const OUTPUT = import.meta.url.endsWith('.ts') ? '../../dist/' : '../../';
export const PROGRAM = fileURLToPath(new URL(`${OUTPUT}portferry.js`, import.meta.url));

/** For what has another subject than the engine: each worker takes a tenth of a second of a core to start. */
export const ONE_WORKER: readonly string[] = ['--workers', '1'];

/** Outside of Linux's ephemeral ports, so that a port that is free for a moment is not somebody's connection then. */
export const PORT_RANGE = '24576-32767';

/** What still runs when the test process ends, for whatever reason, is ended with it. */
const alive = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with the exit code, or 128 + nothing known when a signal ended it. */
  readonly exited: Promise<number>;
  kill(signal?: NodeJS.Signals): Promise<number>;
}

/** Starts `portferry ARGS`. */
export function startPortferry(...args: string[]): Running {
  return startNode(PROGRAM, ...args);
}

/** Starts `node ARGS`: a script, or `-e` and its text. */
export function startNode(...args: string[]): Running {
  return startProgram(process.execPath, args);
}

/** Starts any program. */
export function startProgram(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  alive.add(child);
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    err += chunk;
  });
  child.on('exit', () => alive.delete(child));
  const exited = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 128)));
  return {
    child,
    pid: child.pid!,
    stdout: () => out,
    stderr: () => err,
    exited,
    kill: (signal = 'SIGTERM') => {
      if (!hasEnded({ child })) child.kill(signal);
      return exited;
    },
  };
}

function hasEnded({ child }: Pick<Running, 'child'>): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Runs a command of portferry to its end. */
export async function runPortferry(
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const running = startPortferry(...args);
  const code = await running.exited;
  return { code, stdout: running.stdout(), stderr: running.stderr() };
}

/** Polls until `check` answers something other than undefined or false. Time limits are generous. */
export async function until<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 30_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`timed out after ${timeoutMs} ms: ${what}`);
    await delay(10);
  }
}

/** Lines of a JSON log. */
export function logLines(text: string): Array<Record<string, unknown> & { level: number; msg?: string }> {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown> & { level: number; msg?: string });
}

/** Processes of one test and a directory for their sockets. */
export class ProcessGroup {
  readonly dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  private readonly started: Running[] = [];

  /** Starts `portferry ARGS`, to be ended by `close`. */
  start(...args: string[]): Running {
    return this.track(startPortferry(...args));
  }

  /** The same with more in its environment. */
  startWith(env: NodeJS.ProcessEnv, ...args: string[]): Running {
    return this.track(startProgram(process.execPath, [PROGRAM, ...args], env));
  }

  /** Starts `node ARGS`, to be ended by `close`. */
  startNode(...args: string[]): Running {
    return this.track(startNode(...args));
  }

  /** The processes that run. */
  get running(): number[] {
    return this.started.filter((running) => !hasEnded(running)).map(({ pid }) => pid);
  }

  unixUrl(name: string): string {
    return `unix://${this.dir}/${name}`;
  }

  /** Ends every process that was started, and removes the directory. */
  async close(): Promise<void> {
    await Promise.all(this.started.map((running) => running.kill('SIGKILL')));
    rmSync(this.dir, { recursive: true, force: true });
  }

  private track(running: Running): Running {
    this.started.push(running);
    return running;
  }
}

/** Waits until the links of all VMs of a host agent are up. */
export async function untilLinked(host: Running, api: string, timeoutMs?: number): Promise<ForwardList> {
  const look = async () => {
    if (host.child.exitCode !== null) throw new Error(`host agent ended: ${host.stderr()}`);
    const list = await listForwards(api).catch(() => undefined);
    return list?.vms.every(({ up }) => up) === true && list;
  };
  return until('the link to be up', look, timeoutMs);
}

export type EngineChoice = 'auto' | 'portable' | 'linux';
/** The last is the dedicated lane where only the shim can dial. */
export type LaneChoice = 'auto' | 'dedicated' | 'multiplexed' | 'shim-dialled';

/** A host agent and a VM shim joined by a unix socket, with a control tree and an API. */
export class Pair {
  readonly group = new ProcessGroup();
  readonly dir = this.group.dir;
  readonly shimUrl = this.group.unixUrl('shim.sock');
  /** Where the host agent dials: the shim, unless somebody stands between. */
  linkUrl = this.shimUrl;
  readonly controlUrl = this.group.unixUrl('control.sock');
  /** The control filesystem that the shim serves. */
  readonly portFsUrl = this.group.unixUrl('port-fs.sock');
  readonly api = join(this.dir, 'api.sock');
  readonly lane: LaneChoice;
  readonly engine: EngineChoice;
  readonly shimOptions: readonly string[];
  readonly hostOptions: readonly string[];
  shim!: Running;
  host!: Running;
  private readonly claims: Running[] = [];

  private constructor(
    lane: LaneChoice,
    engine: EngineChoice,
    shimOptions: readonly string[],
    hostOptions: readonly string[],
  ) {
    this.lane = lane;
    this.engine = engine;
    this.shimOptions = shimOptions;
    this.hostOptions = hostOptions;
  }

  /** @param prepare runs before anything is started */
  static async start(
    lane: LaneChoice = 'auto',
    engine: EngineChoice = 'auto',
    shimOptions: readonly string[] = [],
    hostOptions: readonly string[] = [],
    prepare: (pair: Pair) => void = () => {},
  ): Promise<Pair> {
    const pair = new Pair(lane, engine, shimOptions, hostOptions);
    prepare(pair);
    pair.startShim();
    pair.startHost();
    try {
      await pair.linked();
    } catch (error) {
      await pair.close();
      throw error;
    }
    return pair;
  }

  startShim(): Running {
    this.shim = this.group.start(
      'vm-shim',
      ...[
        this.lane === 'shim-dialled' ? '--connect' : '--listen',
        this.shimUrl,
        '--port-fs',
        this.portFsUrl,
        '--engine',
        this.engine,
      ],
      ...['--log-level', 'debug', ...this.workers(this.shimOptions), ...this.shimOptions],
    );
    return this.shim;
  }

  startHost(): Running {
    const { linkUrl, controlUrl, api, lane, engine } = this;
    const args = [lane === 'shim-dialled' ? '--listen' : '--connect', linkUrl, '--control', controlUrl];
    args.push('--api', api, '--lane', wireLane(lane), '--engine', engine);
    if (!this.hostOptions.includes('--config')) args.push('--unix-directory', this.dir);
    if (!this.hostOptions.includes('--port-range')) args.push('--port-range', PORT_RANGE);
    args.push('--log-level', 'debug', ...this.workers(this.hostOptions));
    this.host = this.group.start('host-agent', ...args, ...this.hostOptions);
    return this.host;
  }

  /** Ends claims that are held, starts what has ended, and waits for the link: what a case before may have left. */
  async restart(): Promise<void> {
    await Promise.all(this.claims.splice(0).map((running) => running.kill('SIGKILL')));
    if (hasEnded(this.shim)) this.startShim();
    if (hasEnded(this.host)) this.startHost();
    await this.linked();
  }

  /** Waits until the host agent's newest process has a link that is up, on the lane that was asked for. */
  async linked(): Promise<void> {
    const { vms } = await untilLinked(this.host, this.api);
    const lanes = vms.map(({ lane }) => lane);
    if (this.lane !== 'auto' && lanes.some((lane) => lane !== wireLane(this.lane)))
      throw new Error(`asked for the ${this.lane} lane, got ${lanes.join(', ')}`);
  }

  /** Publishes through the API (short notations: through the command line); answers what was resolved. */
  async expose(spec: string): Promise<{ spec: string; port: number }> {
    const resolved = /^(?:tcp|udp|unix):/.test(spec)
      ? await this.exposeFull(spec)
      : await this.exposeShort(spec);
    return { spec: resolved, port: hostPort(resolved) };
  }

  /** Starts `portferry claim` and waits for its answer. */
  async claim(
    spec: string,
    control = this.controlUrl,
  ): Promise<{ running: Running; spec: string; port: number }> {
    const running = this.group.start('claim', spec, '--control', control);
    this.claims.push(running);
    const line = await until(`claim ${spec}`, () => {
      if (running.child.exitCode !== null) throw new Error(`claim ended: ${running.stderr()}`);
      return running.stdout().includes('\n') && running.stdout().trim();
    });
    return { running, spec: line, port: hostPort(line) };
  }

  /** The counters of a published port. */
  async stats(spec: string): Promise<Record<string, number>> {
    const { forwards } = await listForwards(this.api);
    const forward = forwards.find((each) => each.spec === spec);
    if (forward === undefined) throw new Error(`${spec} is not in the list`);
    return forward.stats;
  }

  /** Waits until no connection of a published port is active. */
  async quiet(spec: string): Promise<void> {
    await until(`no active connection of ${spec}`, async () => (await this.stats(spec)).active === 0);
  }

  /** Ends every process that was started, and removes the directory. */
  close(): Promise<void> {
    return this.group.close();
  }

  /** Who names no engine has another subject. */
  private workers(options: readonly string[]): readonly string[] {
    const told = options.includes('--workers') || options.includes('--config');
    return this.engine === 'auto' && !told ? ONE_WORKER : [];
  }

  private async exposeFull(spec: string): Promise<string> {
    const { status, body } = await callApi(this.api, 'POST', { spec });
    if (status !== 201) throw new Error(`expose ${spec} failed: ${JSON.stringify(body)}`);
    return (body as { spec: string }).spec;
  }

  private async exposeShort(spec: string): Promise<string> {
    const { code, stdout, stderr } = await runPortferry('expose', spec, '--api', this.api);
    if (code !== 0) throw new Error(`expose ${spec} failed: ${stderr}`);
    return stdout.trim();
  }
}

/** As --lane has it. */
function wireLane(lane: LaneChoice): string {
  return lane === 'shim-dialled' ? 'dedicated' : lane;
}

/** The (first) host port of a resolved spec such as `tcp:127.0.0.1,[::1]:8080:tcp:…`; 0 for unix. */
export function hostPort(spec: string): number {
  return Number(/^(?:tcp|udp):(?:\[[^\]]*\]|[^:[])*:(\d+)[:-]/.exec(spec)?.[1] ?? 0);
}

/** A forward of any free loopback port to a loopback port of a stand-in container. */
export function loopback(protocol: 'tcp' | 'udp', containerPort: number, port = 0): string {
  return `${protocol}:127.0.0.1:${port}:${protocol}:127.0.0.1:${containerPort}`;
}

/** A forward of a unix socket. */
export function unixSpec(hostPath: string, vmPath: string): string {
  const base64 = (path: string): string => Buffer.from(path).toString('base64');
  return `unix:${base64(hostPath)}:unix:${base64(vmPath)}`;
}
