/**
 * What a published port costs in the VM: the processes of portferry-proxy, and how long it takes to answer. The tree is a
 * stand-in of plain files that grants everything at once, so the way to the host agent is not in the figures.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { median } from '../helpers/median.ts';

/** The compiled program is in dist/test/bench. */
const SCRIPT = fileURLToPath(new URL('../../../vm-shim/bin/portferry-proxy', import.meta.url));
const PORTS = 20;
const ANSWER_MS = 30_000;

const SHELLS: ReadonlyArray<readonly [name: string, command: readonly string[]]> = [
  ['dash', ['dash']],
  ['busybox ash', ['busybox', 'ash']],
];

/** Where the real `ctl` is read, a file has the answer; everything else is the script's own doing. */
const PROXY = 'cat() { command cat "$PORTFERRY_PORT_DIR/answer"; }\n. "$SCRIPT"';
/** What starting a shell costs in any case; it ends then. */
const NOTHING = 'printf "0\\n" >&3';

export interface ProxyFigures {
  readonly shell: string;
  /** From its start to the answer on descriptor 3, milliseconds: the median, and the least, which a busy machine spoils less. */
  readonly answer: number;
  readonly least: number;
  /** The same for a shell that does nothing else. */
  readonly bareAnswer: number;
  /** Of one port, all of its processes: pages that processes share divided among them, and those of its own, bytes. */
  readonly proportional: number;
  readonly own: number;
  readonly processes: number;
}

/** @throws Error where there is no /proc, or a proxy does not answer */
export async function measureProxy(): Promise<ProxyFigures[]> {
  const figures: ProxyFigures[] = [];
  for (const [shell, command] of SHELLS) {
    if (spawnSync(command[0]!, [...command.slice(1), '-c', 'exit 0']).status !== 0) {
      console.log(`left out: ${shell} (not installed: apt-get install ${command[0]})`);
      continue;
    }
    const bare = await measureShell(command, 'bare');
    const proxy = await measureShell(command, 'proxy');
    figures.push({ shell, ...proxy, bareAnswer: bare.answer });
  }
  if (figures.length === 0) throw new Error('there is no shell to measure');
  return figures;
}

/** For docs/performance.md. */
export function proxyTable(figures: readonly ProxyFigures[]): string {
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(2);
  const rows = figures.map(
    ({ shell, answer, least, bareAnswer, proportional, own, processes }) =>
      `| ${shell} | ${answer.toFixed(1)} | ${least.toFixed(1)} | ${bareAnswer.toFixed(1)} | ${processes} | ${mb(proportional)} | ${mb(own)} |`,
  );
  return [
    '| shell | ms to the answer | the least, ms | a shell that only answers, ms | processes | PSS, MB | private, MB |',
    '| ----- | ---------------: | ------------: | ----------------------------: | --------: | ------: | ----------: |',
    ...rows,
  ].join('\n');
}

async function measureShell(
  command: readonly string[],
  what: 'proxy' | 'bare',
): Promise<Omit<ProxyFigures, 'shell' | 'bareAnswer'>> {
  const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  const tree = join(dir, 'port');
  mkdirSync(tree);
  writeFileSync(join(tree, 'README'), 'a stand-in');
  writeFileSync(join(tree, 'answer'), 'OK tcp:127.0.0.1:8080:tcp:172.17.0.2:80\n');
  const started: ChildProcess[] = [];
  const endAll = (): void => {
    for (const child of started) child.kill('SIGKILL');
  };
  process.on('exit', endAll);
  try {
    const times: number[] = [];
    for (let port = 1; port <= PORTS; port++) {
      const flags = ['-proto', 'tcp', '-host-ip', '127.0.0.1', '-host-port', `${port}`];
      flags.push('-container-ip', '172.17.0.2', '-container-port', '80');
      const began = performance.now();
      const child = spawn(
        command[0]!,
        [...command.slice(1), '-c', what === 'proxy' ? PROXY : NOTHING, 'portferry-proxy', ...flags],
        {
          stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
          env: { ...process.env, PORTFERRY_PORT_DIR: tree, SCRIPT },
        },
      );
      started.push(child);
      await answer(child);
      times.push(performance.now() - began);
      // It starts the child that waits behind its answer.
      while (what === 'proxy' && childrenOf(child.pid!).length === 0) await delay(1);
    }
    const pids = what === 'bare' ? [] : started.flatMap(({ pid }) => [pid!, ...childrenOf(pid!)]);
    const memory = pids.map(memoryOf);
    return {
      answer: median(times),
      least: Math.min(...times),
      processes: pids.length / PORTS,
      proportional: memory.reduce((sum, { proportional }) => sum + proportional, 0) / PORTS,
      own: memory.reduce((sum, { own }) => sum + own, 0) / PORTS,
    };
  } finally {
    process.off('exit', endAll);
    endAll();
    await Promise.all(
      started.map((child) => child.exitCode === null && new Promise((end) => child.once('exit', end))),
    );
    rmSync(dir, { recursive: true, force: true });
  }
}

function answer(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const pipe = child.stdio[3] as NodeJS.ReadableStream;
    const timer = setTimeout(() => reject(new Error('portferry-proxy does not answer')), ANSWER_MS);
    let text = '';
    child.on('error', reject);
    pipe.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    pipe.on('end', () => {
      clearTimeout(timer);
      if (text === '0\n') resolve();
      else reject(new Error(`portferry-proxy answered ${JSON.stringify(text)}`));
    });
  });
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** proc(5), smaps_rollup; bytes. */
function memoryOf(pid: number): { proportional: number; own: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kib = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
  return { proportional: kib('Pss') * 1024, own: (kib('Private_Clean') + kib('Private_Dirty')) * 1024 };
}
