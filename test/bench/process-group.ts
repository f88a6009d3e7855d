/** Processes that were started, and all that came from them: what they use (Linux), and their end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { devNull } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

/** How long processes may take to end when they are asked to, milliseconds. */
const STOP_MS = 2_000;
/** USER_HZ: what /proc counts in, whatever the kernel ticks at. */
const TICKS_PER_SECOND = 100;
/** Without a tick in this time processes are idle, and how long that is waited for, milliseconds. */
const IDLE_MS = 100;
const MAX_IDLE_WAIT_MS = 3_000;
const KEPT_OUTPUT = 4_096;

/** What still runs when this process ends, for whatever reason, is ended with it. */
const groups = new Set<ProcessGroup>();
process.on('exit', () => {
  for (const group of groups) group.kill('SIGKILL');
});

interface Listed {
  readonly parent: number;
  /** When it began, in ticks: a number that is used again has another. */
  readonly began: number;
  readonly cpuTicks: number;
}

export class ProcessGroup {
  private readonly children: ChildProcess[] = [];
  private output = '';

  /** Starts a program in a process group of its own, which a terminal's Ctrl-C does not reach. */
  start(command: string, ...args: string[]): void {
    groups.add(this);
    // Descriptor 3 is where docker-proxy says that it is ready, and 'ignore' would leave it closed.
    const nowhere = openSync(devNull, 'w');
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe', nowhere], detached: true });
    closeSync(nowhere);
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-KEPT_OUTPUT);
      });
    child.on('error', (error) => {
      this.output += error.message;
    });
    this.children.push(child);
  }

  /** What its programs printed last. */
  get lastLine(): string {
    return this.output.trimEnd().split('\n').at(-1) ?? '';
  }

  /** User and system seconds, those of children that have ended included; undefined without /proc. */
  cpuSeconds(): number | undefined {
    const listed = this.listed();
    if (listed === undefined) return undefined;
    return [...listed.values()].reduce((sum, { cpuTicks }) => sum + cpuTicks, 0) / TICKS_PER_SECOND;
  }

  /** Proportional set size in bytes: pages that processes share are divided among them; undefined without /proc. */
  memoryBytes(): number | undefined {
    const listed = this.listed();
    if (listed === undefined) return undefined;
    return [...listed.keys()].reduce((sum, pid) => sum + proportionalBytes(pid), 0);
  }

  /** Waits until its processes have had nothing to do for a moment, so that no measure pays for the one before. */
  async untilIdle(): Promise<void> {
    const end = performance.now() + MAX_IDLE_WAIT_MS;
    for (let before = this.cpuSeconds(); performance.now() < end; ) {
      await delay(IDLE_MS);
      const now = this.cpuSeconds();
      if (now === before) return;
      before = now;
    }
  }

  /** Asks everything to end, and makes it end when it does not. */
  async stop(): Promise<void> {
    const all = this.listed(true);
    this.kill('SIGTERM');
    await Promise.race([Promise.all(this.children.map(closed)), delay(STOP_MS)]);
    this.kill('SIGKILL');
    // The first process of a PID namespace ignores all but SIGKILL.
    const now = processes();
    for (const [pid, { began }] of all ?? []) if (now?.get(pid)?.began === began) signal(pid, 'SIGKILL');
    await Promise.all(this.children.map(closed));
    groups.delete(this);
  }

  kill(name: NodeJS.Signals): void {
    for (const child of this.children)
      if (child.pid !== undefined && (name === 'SIGKILL' || child.exitCode === null))
        signal(-child.pid, name);
  }

  /** Those that are ours; the backend, which a peer may have started, only where it is asked for. */
  private listed(backend = false): Map<number, Listed> | undefined {
    const all = processes();
    if (all === undefined) return undefined;
    const ours = new Map<number, Listed>();
    const add = (pid: number) => {
      const listed = all.get(pid);
      if (listed === undefined || ours.has(pid)) return;
      ours.set(pid, listed);
      for (const [child, { parent }] of all) if (parent === pid) add(child);
    };
    for (const { pid } of this.children)
      if (pid !== undefined && all.get(pid)?.parent === process.pid) add(pid);
    if (!backend) for (const pid of ours.keys()) if (isBackend(pid)) ours.delete(pid);
    return ours;
  }
}

function closed(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it has ended
  }
}

/** All processes, also those that nobody has waited for yet; undefined without /proc. See proc(5) for the fields of `stat`. */
function processes(): Map<number, Listed> | undefined {
  const all = new Map<number, Listed>();
  try {
    for (const name of readdirSync('/proc')) {
      const pid = Number(name);
      if (!Number.isInteger(pid)) continue;
      const text = read(`/proc/${pid}/stat`);
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      if (text === '') continue;
      const [parent, began] = [Number(fields[1]), Number(fields[19])];
      const cpuTicks = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
      all.set(pid, { parent, began, cpuTicks });
    }
  } catch {
    return undefined;
  }
  return all.size === 0 ? undefined : all;
}

function isBackend(pid: number): boolean {
  return read(`/proc/${pid}/cmdline`).split('\0')[1]?.endsWith('/load/backend.js') === true;
}

function proportionalBytes(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has ended
  }
}
