/** The script in the place of docker-proxy, under the shells that VMs have; see port-directory.ts for what this shows. */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { accessSync, constants, readdirSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { VERSION } from '../../shared/version.ts';
import { listForwards } from '../helpers/api.ts';
import { PortDirectory } from '../helpers/port-directory.ts';
import { Pair, until } from '../helpers/processes.ts';
import { childrenOf, isGone, type ProxyProcess, startProxy } from '../helpers/proxy-process.ts';
import { refuses, roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

const SCRIPT = fileURLToPath(new URL('../../vm-shim/bin/portferry-proxy', import.meta.url));
const STAND_IN = fileURLToPath(new URL('../helpers/port-directory.sh', import.meta.url));
const SHELLS: Array<[string, string[]]> = [
  ['dash', ['dash']],
  ['busybox ash', ['busybox', 'ash']],
  ['bash as sh', ['bash', '--posix']],
];

let pair: Pair;
let echo: StreamServer;
let ports: PortDirectory;
const started = new Set<ChildProcess>();
process.on('exit', endAll);

function endAll(): void {
  for (const child of started) child.kill('SIGKILL');
  started.clear();
}

beforeAll(async () => {
  [pair, echo] = await Promise.all([Pair.start(), tcpEcho()]);
  ports = new PortDirectory(join(pair.dir, 'port'), pair.portFsUrl);
});
afterEach(endAll);
afterAll(async () => {
  await ports?.close();
  await pair?.close();
  await echo?.close();
});

/** Starts the script as dockerd starts docker-proxy, or with `by: 'hand'` without descriptor 3. */
function start(
  shell: string[],
  flags: string[],
  by: 'dockerd' | 'hand' = 'dockerd',
  fd4?: number,
): ProxyProcess {
  const line = [...shell, '-c', '. "$STAND_IN"; . "$SCRIPT"', 'portferry-proxy', ...flags];
  const proxy = startProxy(line, { by, fd4, env: { PORTFERRY_PORT_DIR: ports.path, STAND_IN, SCRIPT } });
  started.add(proxy.child);
  return proxy;
}

const flags = (hostPort: number, more: string[] = []): string[] => [
  ...['-proto', 'tcp', '-host-ip', '127.0.0.1', '-host-port', `${hostPort}`],
  ...['-container-ip', '127.0.0.1', '-container-port', `${echo.port}`, ...more],
];
const descriptors = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
const published = async (): Promise<string[]> =>
  (await listForwards(pair.api)).forwards.map(({ spec }) => spec);

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

describe.each(SHELLS)('portferry-proxy under %s', (name, shell) => {
  const installed = spawnSync(shell[0]!, [...shell.slice(1), '-c', 'exit 0']).status === 0;
  if (!installed) console.log(`skipped: ${name} is not installed (apt-get install ${shell[0]})`);

  it.skipIf(!installed)('answers on descriptor 3, holds the port, and SIGINT ends it well', async () => {
    const port = await freePort();
    const proxy = start(shell, flags(port));
    expect(await proxy.status).toBe('0\n');
    expect(await roundTrip(port, 'docker')).toBe('docker');
    const [child, ...others] = await until('the child that waits', () => {
      const all = childrenOf(proxy.pid);
      // Once it waits it has let go of the writing end of the pipe it reads.
      return all.length === 1 && !descriptors(all[0]!).some((path) => path.endsWith('/ctl')) && all;
    });
    expect(others).toEqual([]);
    expect(descriptors(proxy.pid).filter((path) => path.endsWith('/ctl'))).toHaveLength(1);
    proxy.child.kill('SIGINT');
    expect([await proxy.exited, proxy.output()]).toEqual([0, '']);
    await until('the port to refuse', () => refuses(port));
    await until('its child to be gone', () => isGone(child!));
  });

  it.skipIf(!installed)('kill -9 releases the port, and leaves no process behind', async () => {
    const port = await freePort();
    const proxy = start(shell, flags(port));
    expect(await proxy.status).toBe('0\n');
    const all = await until('the child that waits', () => {
      const pids = childrenOf(proxy.pid);
      return pids.length === 1 && pids;
    });
    proxy.child.kill('SIGKILL');
    await until('the port to refuse', () => refuses(port));
    for (const pid of all) await until('its child to be gone', () => isGone(pid));
  });

  it.skipIf(!installed)('hands on what the host says, and exits with 1', async () => {
    const proxy = start(shell, flags(echo.port));
    const words = `1\nBind for 127.0.0.1:${echo.port} failed: port is already allocated: `;
    expect(await proxy.status).toContain(words);
    expect(await proxy.exited).toBe(1);
  });

  it.skipIf(!installed)('with -use-listen-fd closes the socket that dockerd has bound', async () => {
    const proxy = start(shell, flags(0, ['-use-listen-fd']), 'dockerd', 0);
    expect(await proxy.status).toBe('0\n');
    expect(readdirSync(`/proc/${proxy.pid}/fd`)).not.toContain('4');
    proxy.child.kill('SIGTERM');
    expect(await proxy.exited).toBe(0);
  });

  it.skipIf(!installed)(
    'takes the flags of vpnkit-expose-port, and by hand prints what was published',
    async () => {
      const paths = [join(pair.dir, `${name.replaceAll(' ', '-')}.sock`), '/var/run/x.sock'];
      const unix = [
        '-proto=unix',
        `--host-path=${paths[0]}`,
        '-container-path',
        paths[1]!,
        '-no-local-ip',
        '-debug',
      ];
      const proxy = start(shell, [...unix, '-control', '1002', '-i'], 'hand');
      const base64 = paths.map((path) => Buffer.from(path).toString('base64'));
      const spec = `unix:${base64[0]}:unix:${base64[1]}`;
      await until('its answer', () => proxy.output() === `${spec}\n`);
      expect(await published()).toEqual([spec]);
      proxy.child.kill('SIGTERM');
      expect(await proxy.exited).toBe(0);
      await until('it to be gone', async () => (await published()).length === 0);
    },
  );

  it.skipIf(!installed)('writes IPv6 in brackets', async () => {
    const more = ['-host-ip', '::1', '-container-ip', 'fd00::2', '-proto', 'udp'];
    const proxy = start(shell, flags(0, more), 'hand');
    await until('its answer', () => /^udp:\[::1\]:\d+:udp:\[fd00::2\]:\d+\n$/.test(proxy.output()));
    proxy.child.kill('SIGTERM');
    expect(await proxy.exited).toBe(0);
  });

  it.skipIf(!installed)('is stopped at any moment, and nothing is left', async () => {
    const fates = await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        const proxy = start(shell, flags(0, ['-host-ip', `127.0.0.${10 + index}`]));
        if (index % 2 === 0) await proxy.status;
        else await delay(index * 5);
        proxy.child.kill('SIGINT');
        return proxy.exited;
      }),
    );
    // Before it has set its trap a shell dies by the signal.
    for (const [index, fate] of fates.entries())
      expect(index % 2 === 0 ? [0] : [0, 'SIGINT']).toContain(fate);
    await until('all to be gone', async () => (await published()).length === 0);
  });

  it.skipIf(!installed).each<[string, string[], string]>([
    [
      'sctp',
      ['-proto', 'sctp', '-host-port', '80'],
      '0.0.0.0:80/sctp: portferry carries tcp and udp, not sctp',
    ],
    ['an unknown flag', ['-colour'], 'unknown flag -colour'],
    ['a flag without value', ['-host-ip'], '-host-ip needs a value'],
    ['a word', ['tcp'], 'unexpected argument "tcp"'],
    ['a bad port', ['-host-port', '80x'], '-host-port "80x" is no port'],
    ['no container', ['-host-port', '80', '-container-port', '80'], '-container-ip is missing'],
    ['an unknown protocol', ['-proto', 'icmp'], 'unknown protocol "icmp"'],
    ['a bind in the VM', ['-local-bind', 'always'], 'portferry-proxy binds nothing inside the VM'],
  ])('refuses %s', async (_what, wrong, text) => {
    const proxy = start(shell, wrong);
    expect(await proxy.exited).toBe(1);
    const status = await proxy.status;
    expect(status).toMatch(/^1\n/);
    expect(status).toContain(text);
    expect(status).not.toMatch(/\n$/);
  });

  it.skipIf(!installed)('says so when nothing is mounted', async () => {
    const args = [...shell.slice(1), SCRIPT, ...flags(80)];
    const { status, stderr } = spawnSync(shell[0]!, args, {
      env: { ...process.env, PORTFERRY_PORT_DIR: '/nowhere' },
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain('no control filesystem at /nowhere: is portferry vm-shim --port-fs running');
  });
});

it('is executable, and of the version of the package', () => {
  accessSync(SCRIPT, constants.X_OK);
  const { stdout } = spawnSync(SCRIPT, ['-version'], { encoding: 'utf8' });
  expect(stdout).toBe(`portferry-proxy ${VERSION}\n`);
});
