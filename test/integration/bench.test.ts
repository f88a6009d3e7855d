/** The benchmark runs and cleans up. How fast anything is is not asserted. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../helpers/processes.ts';

const BENCH = fileURLToPath(new URL('../../dist/test/bench/main.js', import.meta.url));
const SHORT = ['--seconds', '0.2', '--rounds', '1', '--no-write'];

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** What the bench makes in the directory for temporary files goes into ours, and by that its processes are known. */
function startBench(...args: string[]) {
  const child = spawn(process.execPath, [BENCH, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: dir },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, ended, output: () => output };
}

/** Command lines of processes that have our directory in their environment; none without /proc. */
function leftOver(): string[] {
  const left: string[] = [];
  for (const name of readdirSync('/proc', { encoding: 'utf8' })) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (readFileSync(`/proc/${name}/environ`, 'utf8').includes(dir))
        left.push(readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' '));
    } catch {
      // it has ended, or is not ours
    }
  }
  return left;
}

describe('the benchmark', () => {
  it('measures, verifies and records finite figures, and leaves nothing behind', async () => {
    const json = join(dir, 'figures.json');
    const bench = startBench(...SHORT, '--only', 'bulk1', '--peers', 'node-pair', '--json', json);
    expect(await bench.ended, bench.output()).toBe(0);
    expect(bench.output()).toMatch(/^\| 1 stream up, Gb\/s +\| +\d+\.\d\d \(±0 %\) \|$/m);
    const { outcomes } = JSON.parse(readFileSync(json, 'utf8')) as {
      outcomes: Array<{ peer: string; figures: Record<string, number>; failed: object }>;
    };
    expect(outcomes).toMatchObject([{ peer: 'node-pair', failed: {} }]);
    for (const key of ['up1', 'down1']) {
      expect(outcomes[0]!.figures[key]).toBeGreaterThan(0);
      expect(outcomes[0]!.figures[key]).toBeLessThan(Number.POSITIVE_INFINITY);
    }
    rmSync(json);
    expect(readdirSync(dir)).toEqual([]);
    if (process.platform === 'linux') expect(leftOver()).toEqual([]);
  });

  it('ends what it has started when it is interrupted', async () => {
    const bench = startBench('--seconds', '60', '--only', 'bulk1', '--peers', 'node-pair', '--no-write');
    await until('a peer to be started', () => {
      if (bench.child.exitCode !== null) throw new Error(`the bench ended: ${bench.output()}`);
      return readdirSync(dir).some((name) => readdirSync(join(dir, name)).includes('middle.sock'));
    });
    bench.child.kill('SIGINT');
    expect(await bench.ended, bench.output()).toBe(1);
    expect(bench.output()).toContain('interrupted');
    expect(readdirSync(dir)).toEqual([]);
    if (process.platform === 'linux') expect(leftOver()).toEqual([]);
  });

  it('measures portferry-proxy in each shell that is installed, and leaves nothing behind', async () => {
    const bench = startBench('--only', 'proxy');
    expect(await bench.ended, bench.output()).toBe(0);
    expect(bench.output()).toMatch(
      /^\| (?:dash|busybox ash) \|(?: \d+\.\d \|){3} 2 \|(?: \d+\.\d\d \|){2}$/m,
    );
    expect(readdirSync(dir)).toEqual([]);
    expect(leftOver()).toEqual([]);
  });

  it('refuses names that it does not know, with exit code 2', async () => {
    const bench = startBench('--peers', 'carrier-pigeon');
    expect(await bench.ended).toBe(2);
    expect(bench.output()).toContain('unknown "carrier-pigeon"; known are portferry-linux,');
  });
});
