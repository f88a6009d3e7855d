import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../helpers/processes.ts';

const DEMO = fileURLToPath(new URL('../../dist/test/demo/main.js', import.meta.url));

interface Demo {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  output(): string;
}

const started: Demo[] = [];

function startDemo(...args: string[]): Demo {
  const child = spawn(process.execPath, [DEMO, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const demo = { child, ended, output: () => output };
  started.push(demo);
  return demo;
}

/** The processes that the demo says it has started. */
function programsOf(output: string): number[] {
  return [...output.matchAll(/ pid (\d+),/g)].map(([, pid]) => Number(pid));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function directoryOf(output: string): string {
  return /unix:\/\/(\S+)\/vm\.sock/.exec(output)![1]!;
}

const CHECKED = [
  /^web +tcp 127\.0\.0\.1:\d+ +tcp 127\.0\.0\.1:\d+ +HTTP 200 /m,
  /^udp-echo +udp 127\.0\.0\.1:\d+ +udp 127\.0\.0\.1:\d+ +a datagram of 512 bytes came back$/m,
  /^upload +tcp 127\.0\.0\.1:\d+ +tcp 127\.0\.0\.1:\d+ +an upload of 1048576 bytes, half-closed, was answered$/m,
];

describe('the demo', () => {
  afterEach(async () => {
    for (const { child, ended } of started.splice(0)) {
      child.kill('SIGTERM'); // what a failed test left running still ends its programs
      await ended;
    }
  });

  it('with --once publishes and checks three containers, and exits 0', async () => {
    const demo = startDemo('--once');
    const code = await demo.ended;
    for (const line of CHECKED) expect(demo.output()).toMatch(line);
    expect(demo.output()).toMatch(/^3 of 3 checks passed$/m);
    expect(code).toBe(0);
    expect(programsOf(demo.output()).filter(isAlive)).toEqual([]);
    expect(existsSync(directoryOf(demo.output()))).toBe(false);
  });

  it('stays up until SIGINT, and then leaves nothing behind', async () => {
    const demo = startDemo();
    await until('the demo to be up', () => {
      if (demo.child.exitCode !== null) throw new Error(`the demo ended: ${demo.output()}`);
      return demo.output().includes('Ctrl-C ends the demo.');
    });
    const programs = programsOf(demo.output());
    expect(programs).toHaveLength(2);
    expect(programs.every(isAlive)).toBe(true);
    const page = /curl (\S+)/.exec(demo.output())![1]!;
    expect((await fetch(page)).status).toBe(200);
    demo.child.kill('SIGINT');
    expect(await demo.ended, demo.output()).toBe(0);
    expect(programs.filter(isAlive)).toEqual([]);
    expect(existsSync(directoryOf(demo.output()))).toBe(false);
  });

  it('says so and exits 1 when one of its programs dies', async () => {
    const demo = startDemo();
    const [shim] = await until('the programs to be started', () => {
      const programs = programsOf(demo.output());
      return programs.length === 2 && programs;
    });
    process.kill(shim!, 'SIGKILL');
    expect(await demo.ended).toBe(1);
    expect(demo.output()).toContain('demo failed: the vm-shim died of SIGKILL');
    expect(demo.output()).toContain("last lines of the host-agent's log");
    expect(programsOf(demo.output()).filter(isAlive)).toEqual([]);
  });

  it('refuses an option that it does not know, with exit code 2', async () => {
    const demo = startDemo('--bogus');
    expect(await demo.ended).toBe(2);
    expect(demo.output()).toContain("Unknown option '--bogus'");
  });

  it('refuses an engine that it does not know, with exit code 2', async () => {
    const demo = startDemo('--engine', 'steam');
    expect(await demo.ended).toBe(2);
    expect(demo.output()).toContain('unknown engine "steam"');
  });
});
