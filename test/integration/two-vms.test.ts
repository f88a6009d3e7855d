import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ForwardList } from '../helpers/api.ts';
import { callApi } from '../helpers/api.ts';
import {
  hostPort,
  logLines,
  loopback,
  ONE_WORKER,
  ProcessGroup,
  type Running,
  runPortferry,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import { connectTo, fateOf, readAll, readExactly } from '../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';
import { udpEcho, udpPeer } from '../helpers/udp-peer.ts';

let group: ProcessGroup;
let api: string;
let host: Running;
let open: Array<{ close(): Promise<void> }> = [];

function begin(): void {
  group = new ProcessGroup();
  api = join(group.dir, 'api.sock');
}

afterEach(async () => {
  await Promise.all(open.map((each) => each.close()));
  open = [];
});

async function track<T extends { close(): Promise<void> }>(each: Promise<T>): Promise<T> {
  open.push(await each);
  return each;
}

function startHost(...args: string[]): Running {
  host = group.start('host-agent', '--api', api, '--log-level', 'debug', ...ONE_WORKER, ...args);
  return host;
}

function startShim(...args: string[]): Running {
  return group.start('vm-shim', ...ONE_WORKER, ...args);
}

/** The URL that a process says it listens at, its port resolved. */
async function urlOf(running: Running): Promise<string> {
  return until('its URL', () => {
    if (running.child.exitCode !== null) throw new Error(`it ended: ${running.stderr()}`);
    for (const line of logLines(running.stderr())) {
      if (typeof line.url === 'string' && line.level === 30) return line.url;
      if (Array.isArray(line.urls)) return line.urls[0] as string;
    }
    return undefined;
  });
}

async function expose(spec: string): Promise<number> {
  const { status, body } = await callApi(api, 'POST', { spec });
  expect(status).toBe(201);
  return hostPort((body as { spec: string }).spec);
}

/** A container that says which one it is. */
function named(name: string): Promise<StreamServer> {
  return track(serveStreams((socket) => void socket.resume().end(name)));
}

const ask = async (port: number): Promise<string> => (await readAll(await connectTo(port))).toString();

describe('two VMs at one host agent', () => {
  let shims: { a: Running; b: Running };

  beforeAll(async () => {
    begin();
    const url = (name: string): string => group.unixUrl(name);
    shims = { a: startShim('--listen', url('a.sock')), b: startShim('--listen', url('b.sock')) };
    startHost(
      ...['--connect', `a=${url('a.sock')}`, '--connect', `b=${url('b.sock')}`],
      ...['--control', `a=${url('a-control.sock')}`, '--control', `b=${url('b-control.sock')}`],
    );
    const { vms } = await untilLinked(host, api);
    expect(vms.map(({ name, up }) => [name, up])).toEqual([
      ['a', true],
      ['b', true],
    ]);
  });

  afterAll(() => group.close());

  it('expose and unexpose say which', async () => {
    const container = await named('hello');
    const spec = loopback('tcp', container.port);
    const without = await runPortferry('expose', spec, '--api', api);
    expect([without.code, without.stdout]).toEqual([2, '']);
    expect(without.stderr).toContain('--vm NAME');
    const unknown = await runPortferry('expose', spec, '--vm', 'c', '--api', api);
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain('no VM "c"; there is a, b');

    const exposed = await runPortferry('expose', spec, '--vm', 'b', '--api', api);
    expect(exposed).toMatchObject({ code: 0, stderr: '' });
    const resolved = exposed.stdout.trim();
    expect(await ask(hostPort(resolved))).toBe('hello');
    const { body } = await callApi(api, 'GET');
    expect((body as ForwardList).forwards).toMatchObject([{ spec: resolved, vm: 'b', owner: 'api' }]);

    const wrong = await runPortferry('unexpose', resolved, '--vm', 'a', '--api', api);
    expect(wrong.code).toBe(1);
    expect(await ask(hostPort(resolved))).toBe('hello');
    expect((await runPortferry('unexpose', resolved, '--vm', 'b', '--api', api)).code).toBe(0);
    await expect(connectTo(hostPort(resolved))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('of two that want the same port the second is told which VM has it', async () => {
    const container = await named('hello');
    const claim = (vm: 'a' | 'b', spec: string): Running =>
      group.start('claim', spec, '--control', group.unixUrl(`${vm}-control.sock`));
    const first = claim('a', loopback('tcp', container.port));
    const spec = await until('the claim', () => first.stdout().includes('\n') && first.stdout().trim());
    const port = hostPort(spec);
    const refused = claim('b', spec);
    expect(await refused.exited).toBe(1);
    expect(refused.stderr()).toMatch(
      new RegExp(
        `already allocated: VM "a" has 127.0.0.1:${port} \\(published by 9p:a:\\d+\\) \\[PORT_IN_USE\\]`,
      ),
    );
    const { code, stderr } = await runPortferry('expose', spec, '--vm', 'b', '--api', api);
    expect([code, stderr]).toEqual([1, expect.stringContaining(`VM "a" has 127.0.0.1:${port}`)]);
    expect(await ask(port)).toBe('hello');
    // It is free for the second when the first has gone.
    await first.kill('SIGKILL');
    await until(
      'the port to be free',
      async () => (await callApi(api, 'POST', { spec, vm: 'b' })).status === 201,
    );
    await callApi(api, 'DELETE', { spec });
  });

  it('claims belong to the VM whose tree they were made in, and a dead VM is its own affair', async () => {
    const container = await track(tcpEcho());
    const claim = async (vm: 'a' | 'b'): Promise<number> => {
      const spec = loopback('tcp', container.port);
      const running = group.start('claim', spec, '--control', group.unixUrl(`${vm}-control.sock`));
      return hostPort(await until('the claim', () => running.stdout().includes('\n') && running.stdout()));
    };
    const ports = { a: await claim('a'), b: await claim('b') };
    const { body } = await callApi(api, 'GET');
    expect((body as ForwardList).forwards.map(({ vm }) => vm).sort()).toEqual(['a', 'b']);

    const clients = { a: await connectTo(ports.a), b: await connectTo(ports.b) };
    for (const client of Object.values(clients)) {
      client.write('hello');
      await readExactly(client, 5);
    }
    const fate = fateOf(clients.a);
    await shims.a.kill('SIGKILL');
    expect((await fate).how).toBe('ECONNRESET');
    clients.b.write('still there');
    expect((await readExactly(clients.b, 11)).toString()).toBe('still there');
    await until('the loss to be known', async () => {
      const list = (await callApi(api, 'GET')).body as ForwardList;
      return list.vms.map(({ up }) => up).join() === 'false,true';
    });
    const { stdout } = await runPortferry('list', '--api', api);
    expect(stdout).toContain('no link to VM a');
    expect(stdout).not.toContain('no link to VM b');
  });
});

it('one VM may not have two URLs, and a control tree needs a VM', async () => {
  const twice = await runPortferry('host-agent', '--connect', 'unix:///a', '--connect', 'unix:///b');
  expect(twice.code).toBe(2);
  expect(twice.stderr).toContain('--connect NAME=');
  const stranger = await runPortferry(
    'host-agent',
    ...['--connect', 'a=unix:///a', '--control', 'b=unix:///b'],
  );
  expect(stranger.code).toBe(2);
  expect(stranger.stderr).toContain('--control NAME=');
});

describe.each([
  ['a unix socket', () => group.unixUrl('link.sock')],
  ['TCP on loopback', () => 'tcp://127.0.0.1:0'],
])('over %s', (_name, address) => {
  const check = async (lane: string): Promise<void> => {
    const { vms } = await untilLinked(host, api);
    expect(vms).toMatchObject([{ name: 'default', up: true, lane }]);
    const container = await track(tcpEcho());
    const port = await expose(loopback('tcp', container.port));
    const client = await connectTo(port);
    const message = Buffer.alloc(1_000_003, 'portferry');
    const answer = readAll(client);
    client.end(message);
    expect((await answer).equals(message)).toBe(true);

    const udp = await track(udpPeer());
    const udpPort = await expose(loopback('udp', (await track(udpEcho())).port));
    udp.send(Buffer.from('datagram'), udpPort);
    expect((await until('the answer', () => udp.received[0])).toString()).toBe('datagram');

    const running = await connectTo(port);
    running.write('hello');
    await readExactly(running, 5);
    const fates = [fateOf(running), fateOf([...container.sockets][0]!)];
    running.resetAndDestroy();
    expect((await fates[1]!).how).toBe('ECONNRESET');
  };

  beforeEach(begin);
  afterEach(() => group.close());

  it('the host agent dials the shim: dedicated lane', async () => {
    const shim = startShim('--listen', address());
    startHost('--connect', await urlOf(shim));
    await check('dedicated');
  });

  it('the shim dials the host agent: dedicated lane, and again when either is new', async () => {
    startHost('--listen', address());
    const url = await urlOf(host);
    const first = startShim('--connect', url);
    await check('dedicated');

    await first.kill('SIGKILL');
    startShim('--connect', url);
    const port = await expose(loopback('tcp', (await named('after the shim')).port));
    await until('the next shim', () =>
      ask(port).then(
        (answer) => answer === 'after the shim',
        () => false,
      ),
    );

    await host.kill('SIGKILL');
    startHost('--listen', url);
    await untilLinked(host, api);
    const next = await expose(loopback('tcp', (await named('after the host')).port));
    expect(await ask(next)).toBe('after the host');
  });
});

it('dedicated streams that cannot be had are named in the log', async () => {
  begin();
  startHost('--listen', `hybrid://${group.dir}/vsock?port=5000`, '--lane', 'dedicated');
  await urlOf(host);
  startShim('--connect', group.unixUrl('vsock_5000'));
  const { vms } = await untilLinked(host, api);
  expect(vms[0]!.lane).toBe('multiplexed');
  const line = logLines(host.stderr()).find(({ msg }) => msg?.includes('the transport has no half-close'));
  expect(line).toMatchObject({ level: 40 });
  await group.close();
});
