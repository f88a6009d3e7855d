import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callApi, type ForwardList } from '../helpers/api.ts';
import {
  logLines,
  loopback,
  Pair,
  runPortferry,
  startPortferry,
  unixSpec,
  until,
} from '../helpers/processes.ts';
import { connectTo, fateOf, readExactly, roundTrip } from '../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';
import { udpPeer } from '../helpers/udp-peer.ts';

let pair: Pair;
let echo: StreamServer;

beforeAll(async () => {
  pair = await Pair.start();
  echo = await tcpEcho();
});

afterAll(async () => {
  await pair?.close();
  await echo?.close();
});

const cli = (...args: string[]): ReturnType<typeof runPortferry> => runPortferry(...args, '--api', pair.api);

/** What is said of a port that this very process has; where, as it is held. */
const heldByUs = (asked: string, where: string): RegExp =>
  new RegExp(
    `Bind for ${asked} failed: port is already allocated: .+ \\(process ${process.pid}\\) has ${where}`,
  );

describe('a port that somebody else has', () => {
  it('is refused in the words of docker over the API, by expose and by both claims, with the one who has it', async () => {
    const taken = await tcpEcho();
    try {
      const spec = loopback('tcp', echo.port, taken.port);
      const where = `127.0.0.1:${taken.port}`;
      const text = heldByUs(where, `${where}$`);
      const { status, body } = await callApi(pair.api, 'POST', { spec });
      expect([status, body]).toEqual([409, { code: 'PORT_IN_USE', message: expect.stringMatching(text) }]);
      const withCode = heldByUs(where, `${where} \\[PORT_IN_USE\\]\n$`);
      const exposed = await cli('expose', spec);
      expect(exposed).toMatchObject({ code: 1, stdout: '' });
      expect(exposed.stderr).toMatch(withCode);
      for (const control of [pair.controlUrl, pair.portFsUrl]) {
        const claimed = await runPortferry('claim', spec, '--control', control);
        expect(claimed.stderr).toMatch(withCode);
        expect(claimed).toMatchObject({ code: 1, stdout: '' });
      }
    } finally {
      await taken.close();
    }
  });

  it('is refused for UDP too', async () => {
    const taken = await udpPeer();
    try {
      const { status, body } = await callApi(pair.api, 'POST', { spec: loopback('udp', 53, taken.port) });
      const where = `127.0.0.1:${taken.port}`;
      const message = expect.stringMatching(heldByUs(where, `${where}$`));
      expect([status, body]).toEqual([409, { code: 'PORT_IN_USE', message }]);
    } finally {
      await taken.close();
    }
  });

  it('is named where a wildcard is in the way of an address, and the other way round', async () => {
    const ask = async (spec: string): Promise<unknown> => (await callApi(pair.api, 'POST', { spec })).body;
    const any = createServer().listen(0, '0.0.0.0');
    await once(any, 'listening');
    const { port } = any.address() as AddressInfo;
    expect(await ask(loopback('tcp', 80, port))).toMatchObject({
      message: expect.stringMatching(
        heldByUs(`127.0.0.1:${port}`, `0.0.0.0:${port}, which includes 127.0.0.1:${port}$`),
      ),
    });
    any.close();
    const one = await tcpEcho();
    expect(await ask(`tcp:0.0.0.0:${one.port}:tcp:127.0.0.1:80`)).toMatchObject({
      message: expect.stringMatching(
        heldByUs(`0.0.0.0:${one.port}`, `127.0.0.1:${one.port}, which 0.0.0.0:${one.port} includes$`),
      ),
    });
    await one.close();
  });

  it('is named for a unix socket', async () => {
    const path = join(pair.dir, 'taken.sock');
    const taken = await serveStreams(() => {}, path);
    const { body } = await callApi(pair.api, 'POST', { spec: unixSpec(path, '/x') });
    const why = new RegExp(`Bind for ${path} failed: .+: .+ \\(process ${process.pid}\\) has ${path}$`);
    expect(body).toMatchObject({ code: 'PORT_IN_USE', message: expect.stringMatching(why) });
    await taken.close();
  });

  it('is one that we publish ourselves as well, whoever asked', async () => {
    const { spec, port } = await pair.expose(loopback('tcp', echo.port));
    const who = `VM "default" has 127.0.0.1:${port} (published by api)`;
    const text = `Bind for 127.0.0.1:${port} failed: port is already allocated: ${who}`;
    expect((await callApi(pair.api, 'POST', { spec })).body).toMatchObject({ message: text });
    const any = `tcp:0.0.0.0:${port}:tcp:127.0.0.1:1`;
    expect((await callApi(pair.api, 'POST', { spec: any })).body).toMatchObject({
      message: expect.stringContaining(`VM "default" has 127.0.0.1:${port}, which 0.0.0.0:${port} includes`),
    });
    const claimed = await runPortferry('claim', spec, '--control', pair.controlUrl);
    expect(claimed.stderr).toContain(text);
    expect(claimed.code).toBe(1);
    expect(await roundTrip(port, 'unharmed')).toBe('unharmed');
    await callApi(pair.api, 'DELETE', { spec });
  });

  it('an address that this machine does not have is named so', async () => {
    const { code, stderr } = await cli('expose', `tcp:192.0.2.1:0:tcp:127.0.0.1:${echo.port}`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/listen tcp 192\.0\.2\.1:\d+: bind: cannot assign requested address/);
  });
});

describe('addresses', () => {
  it('0.0.0.0 is honoured, and logged as reachable from the network', async () => {
    const { spec, port } = await pair.expose(`tcp:0.0.0.0:0:tcp:127.0.0.1:${echo.port}`);
    expect(spec).toBe(`tcp:0.0.0.0:${port}:tcp:127.0.0.1:${echo.port}`);
    expect(await roundTrip(port, 'hello')).toBe('hello');
    const line = await until('the warning', () =>
      logLines(pair.host.stderr()).find((each) => each.spec === spec),
    );
    expect(line).toMatchObject({ level: 40, msg: expect.stringContaining('reachable from the network') });
    await callApi(pair.api, 'DELETE', { spec });
  });

  it('loopback is not', async () => {
    const { spec } = await pair.expose(loopback('tcp', echo.port));
    const line = await until('the line', () =>
      logLines(pair.host.stderr()).find((each) => each.spec === spec),
    );
    expect(line).toMatchObject({ level: 30, msg: 'exposed' });
    await callApi(pair.api, 'DELETE', { spec });
  });

  it(':: takes IPv6 only, beside 0.0.0.0 at the same port', async (context) => {
    if (!(await hasIpv6())) {
      const why = 'skipped: this machine has no IPv6';
      console.log(why);
      return context.skip(why);
    }
    const six = await pair.expose(`tcp:[::]:0:tcp:127.0.0.1:${echo.port}`);
    expect(six.spec).toBe(`tcp:[::]:${six.port}:tcp:127.0.0.1:${echo.port}`);
    await expect(connectTo(six.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const four = await pair.expose(`tcp:0.0.0.0:${six.port}:tcp:127.0.0.1:${echo.port}`);
    expect(await roundTrip(four.port, 'over IPv4')).toBe('over IPv4');
    const { connect } = await import('node:net');
    const client = connect({ host: '::1', port: six.port });
    client.write('over IPv6');
    expect((await readExactly(client, 9)).toString()).toBe('over IPv6');
    client.destroy();
    for (const { spec } of [six, four]) await callApi(pair.api, 'DELETE', { spec });
  });
});

describe('unexpose', () => {
  it('lets a connection that runs finish, while the port refuses others', async () => {
    const { spec, port } = await pair.expose(loopback('tcp', echo.port));
    const client = await connectTo(port);
    client.write('one');
    await readExactly(client, 3);
    expect(await cli('unexpose', spec)).toEqual({ code: 0, stdout: `${spec}\n`, stderr: '' });
    await expect(connectTo(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    client.write('two');
    expect((await readExactly(client, 3)).toString()).toBe('two');
    const fate = fateOf(client);
    client.end();
    expect((await fate).how).toBe('end');
    await until('the container to be left alone', () => echo.sockets.size === 0);
  });

  it('with --now ends it by a reset', async () => {
    const { spec, port } = await pair.expose(loopback('tcp', echo.port));
    const client = await connectTo(port);
    client.write('one');
    await readExactly(client, 3);
    const fates = [fateOf(client), fateOf([...echo.sockets][0]!)];
    expect(await cli('unexpose', spec, '--now')).toEqual({ code: 0, stdout: `${spec}\n`, stderr: '' });
    expect((await Promise.all(fates)).map(({ how }) => how)).toEqual(['ECONNRESET', 'ECONNRESET']);
  });

  it('of what is not exposed exits 1', async () => {
    const spec = loopback('tcp', 80, 9);
    const { code, stdout, stderr } = await cli('unexpose', spec);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`${spec} is not exposed`);
  });
});

describe('the command line', () => {
  it('list shows what is published, as a table and as JSON', async () => {
    const { spec, port } = await pair.expose(loopback('tcp', echo.port));
    const { running, spec: claimed } = await pair.claim(loopback('tcp', echo.port));
    await roundTrip(port, '12345');
    await pair.quiet(spec);
    const table = await cli('list');
    expect(table).toMatchObject({ code: 0, stderr: '' });
    const [head, ...rows] = table.stdout.trimEnd().split('\n');
    expect(head!.split(/\s+/)).toEqual(['SPEC', 'VM', 'OWNER', 'SINCE', 'ACTIVE', 'UP', 'DOWN']);
    expect(rows.map((row) => row.split(/\s+/)[0]).sort()).toEqual([spec, claimed].sort());

    const json = await cli('list', '--json');
    expect(json).toMatchObject({ code: 0, stderr: '' });
    const { forwards, vms } = JSON.parse(json.stdout) as ForwardList;
    expect(vms).toEqual([expect.objectContaining({ name: 'default', up: true, lane: 'dedicated' })]);
    const byApi = forwards.find((each) => each.spec === spec)!;
    expect(byApi).toMatchObject({ vm: 'default', owner: 'api' });
    expect(byApi.stats).toMatchObject({ active: 0, bytes_up: 5, bytes_down: 5, connections: 1 });
    expect(forwards.find((each) => each.spec === claimed)!.owner).toMatch(/^9p:/);
    await running.kill('SIGTERM');
    await callApi(pair.api, 'DELETE', { spec });
    await until('nothing to be published', async () => {
      const { body } = await callApi(pair.api, 'GET');
      return (body as ForwardList).forwards.length === 0;
    });
  });

  it('expose in short takes a loopback address', async () => {
    const { code, stdout } = await cli('expose', `${echo.port}`);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^tcp:127\\.0\\.0\\.1:\\d+:tcp:127\\.0\\.0\\.1:${echo.port}\n$`));
    expect((await cli('unexpose', stdout.trim())).code).toBe(0);
  });

  it('a command has --help and --version', async () => {
    const [help, version] = await Promise.all([
      runPortferry('claim', '--help'),
      runPortferry('host-agent', '--version'),
    ]);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('Usage: portferry claim');
    expect(version).toMatchObject({ code: 0, stderr: '' });
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('portferry itself has --help and --version', async () => {
    const [help, version] = await Promise.all([runPortferry('--help'), runPortferry('--version')]);
    expect(help.code).toBe(0);
    for (const command of ['host-agent', 'vm-shim', 'claim', 'expose', 'unexpose', 'list'])
      expect(help.stdout).toContain(command);
    expect(version.code).toBe(0);
  });

  // What else is wrong usage is in test/unit/commands.test.ts.
  it.each([
    ['an unknown command', ['nonsense']],
    ['a malformed spec', ['expose', 'tcp:127.0.0.1:x:tcp:127.0.0.1:80', '--api', '/nowhere']],
  ])('%s exits 2 and says why', async (_name, args) => {
    const { code, stdout, stderr } = await runPortferry(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr.length).toBeGreaterThan(10);
    expect(stderr).not.toMatch(/\n {4}at /);
  });

  it.each([
    ['list', ['list', '--api', '/nonexistent/api.sock'], 'is portferry host-agent running'],
    ['claim', ['claim', '80', '--control', 'unix:///nonexistent/c.sock'], 'no such socket'],
    ['vm-shim', ['vm-shim', '--listen', 'unix:///nonexistent/s.sock'], 'directory does not exist'],
  ])('%s exits 1 where its other side is not there, and says what to do', async (_name, args, text) => {
    const { code, stdout, stderr } = await runPortferry(...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(text);
    expect(stderr).not.toMatch(/\n {4}at /);
  });

  it('a second agent at the same sockets is refused and harms the first one nothing', async () => {
    const second = startPortferry('host-agent', '--connect', pair.shimUrl, '--api', pair.api);
    try {
      expect(await second.exited).toBe(1);
      expect(second.stderr()).toContain(pair.api);
      expect((await cli('list')).code).toBe(0);
    } finally {
      await second.kill('SIGKILL');
    }
  });

  it('logs are JSON on stderr, a line each, with program and level', () => {
    for (const [running, program] of [
      [pair.host, 'host-agent'],
      [pair.shim, 'vm-shim'],
    ] as const) {
      expect(running.stdout()).toBe('');
      const lines = running.stderr().trimEnd().split('\n');
      expect(lines.length).toBeGreaterThan(0);
      for (const line of lines)
        expect(JSON.parse(line)).toMatchObject({
          program,
          level: expect.any(Number),
          pid: running.pid,
          msg: expect.any(String),
        });
    }
  });
});

function hasIpv6(): Promise<boolean> {
  return new Promise((resolve) => {
    const server: Server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '::1', port: 0 }, () => server.close(() => resolve(true)));
  });
}
