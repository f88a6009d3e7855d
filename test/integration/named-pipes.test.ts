/** The program as it runs on Windows, simulated: named pipes wherever others have unix sockets. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { logLines, loopback, ProcessGroup, type Running, startProgram, until } from '../helpers/processes.ts';

const DIST = new URL('../../dist/', import.meta.url);
const AS_WINDOWS = new URL('test/helpers/as-windows.js', DIST).href;
const DEMO = fileURLToPath(new URL('test/demo/main.js', DIST));

describe.skipIf(process.platform === 'win32')('on Windows, simulated,', () => {
  let group: ProcessGroup;
  let env: NodeJS.ProcessEnv;
  beforeEach(() => {
    group = new ProcessGroup();
    env = { TEMP: group.dir, NODE_OPTIONS: `--import ${AS_WINDOWS}` };
  });
  afterEach(() => group.close());

  const run = async (command: string, api: string, ...args: string[]) => {
    const running = group.startWith({ ...env, PORTFERRY_API: api }, command, ...args);
    return { code: await running.exited, stdout: running.stdout(), stderr: running.stderr() };
  };

  const ready = (host: Running) =>
    until('the host agent to be ready', () => {
      if (host.child.exitCode !== null) throw new Error(`it has ended: ${host.stderr()}`);
      return logLines(host.stderr()).some(({ msg }) => msg === 'the host agent is ready');
    });

  it('the demo works, and leaves nothing behind', async () => {
    const demo = startProgram(process.execPath, [DEMO, '--once'], env);
    expect(await demo.exited, demo.stderr()).toBe(0);
    expect(demo.stdout()).toMatch(
      /^VM shim +pid \d+, listens on npipe:\/{4}\.\/pipe\/portferry-demo-\w+-vm$/m,
    );
    expect(demo.stdout()).toMatch(/^3 of 3 checks passed$/m);
    expect(readdirSync(group.dir)).toEqual([]);
  });

  it('commands reach the API through its pipe, by URL and by the name that Windows has for it', async () => {
    const url = 'npipe:////./pipe/pf-api';
    const name = '\\\\.\\pipe\\pf-api';
    const link = 'npipe:////./pipe/pf-vm';
    group.startWith(env, 'vm-shim', '--listen', link);
    const host = group.startWith(env, 'host-agent', '--connect', link, '--api', name);
    await ready(host);
    const exposed = await run('expose', url, loopback('tcp', 9));
    expect(exposed.stderr).toBe('');
    const list = await run('list', name);
    expect(list.stdout).toContain(exposed.stdout.trim());
    expect(await run('unexpose', name, exposed.stdout.trim())).toMatchObject({
      code: 0,
      stdout: exposed.stdout,
    });

    const second = group.startWith(env, 'host-agent', '--connect', link, '--api', url);
    expect(await second.exited).toBe(1);
    expect(second.stderr()).toContain(
      `cannot listen on ${url}: Bind for ${name} failed: a process listens there [PORT_IN_USE]`,
    );
  });

  it.each([
    ['host-agent', ['--connect', 'npipe:////./pipe/a', '--api', '/tmp/pf/api.sock']],
    ['host-agent', ['--connect', 'npipe:////./pipe/a', '--control', 'unix:///tmp/pf/control.sock']],
    ['list', ['--api', 'api.sock']],
  ])('%s refuses a unix socket, and says what there is (%j)', async (command, args) => {
    const { code, stderr } = await run(command, '', ...args);
    expect(stderr).toContain('on Windows Node has no unix sockets, but named pipes: npipe:////./pipe/NAME');
    expect(code).toBe(2);
  });

  it.each([
    ['a closed console', 'SIGHUP', 'SIGHUP'],
    ['Ctrl-Break', 'SIGUSR2', 'SIGBREAK'],
  ] as const)(
    '%s ends the program in order, also one that has a file to read again',
    async (_what, sent, heard) => {
      const config = join(group.dir, 'config.toml');
      writeFileSync(config, 'api = "npipe:////./pipe/pf-api"\n');
      const link = 'npipe:////./pipe/pf-vm';
      const host = group.startWith(env, 'host-agent', '--listen', link, '--config', config);
      await ready(host);
      host.child.kill(sent);
      await until('it to be told', () => host.stderr().includes(`stopping on ${heard}`));
      expect(await host.exited).toBe(0);
      expect(host.stderr()).not.toContain('the policy was read again');
    },
  );
});
