/** gvproxy's API, asked as podman in a VM asks it: by the bytes that Go's HTTP client sends. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callApi, listForwards } from '../helpers/api.ts';
import { logLines, Pair, runPortferry, until } from '../helpers/processes.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

let pair: Pair;
let echo: StreamServer;
let api: number;

const apiPort = (): Promise<number> =>
  until('the gateway API', () => {
    const line = logLines(pair.shim.stderr()).find(({ at }) => at !== undefined);
    return line === undefined ? undefined : Number(String(line.at).split(':')[1]);
  });

beforeAll(async () => {
  [pair, echo] = await Promise.all([Pair.start('auto', 'auto', ['--gateway-api', '127.0.0.1:0']), tcpEcho()]);
  api = await apiPort();
});
afterAll(async () => {
  await pair?.close();
  await echo?.close();
});

/** Sends bytes and reads to the end; the status and the body of the answer. */
function exchange(text: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(api, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      answer += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () =>
      resolve({ status: Number(answer.slice(9, 12)), body: answer.slice(answer.indexOf('\r\n\r\n') + 4) }),
    );
  });
}

/** podman: http.Post(url, "application/json", body), libpod/networking_machine.go. */
function podman(action: string, body: string): Promise<{ status: number; body: string }> {
  const head = `POST /services/forwarder/${action} HTTP/1.1\r\nHost: gateway.containers.internal\r\n`;
  const rest = `User-Agent: Go-http-client/1.1\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
  const type = 'Content-Type: application/json\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n';
  return exchange(`${head}${rest}${type}${body}`);
}
const get = (path: string) => exchange(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
const all = async (): Promise<unknown> => {
  const { status, body } = await get('/services/forwarder/all');
  expect(status).toBe(200);
  return JSON.parse(body);
};

/** Sends a word through a forward at 127.0.0.2 and reads it back. */
const answers = (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.2', port }, () => socket.end('podman'));
    let got = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      got += chunk;
    });
    socket.on('error', reject);
    socket.on('end', () => resolve(got));
  });

describe('the gateway API', () => {
  it('forgets what is ended on the host, which can be exposed again then', async () => {
    const local = `127.0.0.2:${echo.port}`;
    const expose = JSON.stringify({ local, remote: `:${echo.port}`, protocol: 'tcp' });
    for (const _ of ['once', 'and again']) {
      expect(await podman('expose', expose)).toEqual({ status: 200, body: '' });
      expect(await answers(echo.port)).toBe('podman');
      const spec = `tcp:${local}:tcp:127.0.0.1:${echo.port}`;
      expect((await callApi(pair.api, 'DELETE', { spec })).status).toBe(200);
      await until('it to be forgotten', async () => JSON.stringify(await all()) === '[]');
    }
  });

  it('exposes as podman asks, to the address of the caller, lists it, and unexposes it', async () => {
    const local = `127.0.0.2:${echo.port}`;
    const expose = JSON.stringify({ local, remote: `:${echo.port}`, protocol: 'tcp' });
    expect(await podman('expose', expose)).toEqual({ status: 200, body: '' });
    expect(await answers(echo.port)).toBe('podman');
    expect((await listForwards(pair.api)).forwards).toMatchObject([
      { spec: `tcp:${local}:tcp:127.0.0.1:${echo.port}`, owner: 'shim:default' },
    ]);
    const listed = { local, remote: `127.0.0.1:${echo.port}`, protocol: 'tcp' };
    expect(await all()).toEqual([listed]);

    const again = await podman('expose', expose);
    expect(again).toEqual({ status: 500, body: `proxy already running for tcp on ${local}\n` });

    const unexpose = JSON.stringify({ local, remote: `:${echo.port}`, protocol: 'tcp' });
    expect(await podman('unexpose', unexpose)).toEqual({ status: 200, body: '' });
    expect((await listForwards(pair.api)).forwards).toEqual([]);
    expect(await all()).toEqual([]);
    expect(await podman('unexpose', unexpose)).toMatchObject({
      status: 500,
      body: `proxy not found: nothing was exposed for tcp on ${local}\n`,
    });
  });

  it('takes tcp unless told, udp, IPv6 and addresses that are left out', async () => {
    const request = { local: ':0', remote: '172.17.0.2:53' };
    expect((await podman('expose', JSON.stringify({ ...request, protocol: 'udp' }))).status).toBe(200);
    expect((await podman('expose', JSON.stringify(request))).status).toBe(200);
    const v6 = JSON.stringify({ local: '[::1]:0', remote: '[fd00::2]:53' });
    expect((await podman('expose', v6)).status).toBe(200);
    const specs = (await listForwards(pair.api)).forwards.map(({ spec }) => spec.replace(/:\d{4,5}:/, ':N:'));
    expect(specs.sort()).toEqual([
      'tcp:0.0.0.0:N:tcp:172.17.0.2:53',
      'tcp:[::1]:N:tcp:[fd00::2]:53',
      'udp:0.0.0.0:N:udp:172.17.0.2:53',
    ]);
    expect(await all()).toEqual([
      { local: ':0', remote: '172.17.0.2:53', protocol: 'tcp' },
      { local: ':0', remote: '172.17.0.2:53', protocol: 'udp' },
      { local: '[::1]:0', remote: '[fd00::2]:53', protocol: 'tcp' },
    ]);
    for (const protocol of ['tcp', 'udp'])
      expect((await podman('unexpose', JSON.stringify({ local: ':0', protocol }))).status).toBe(200);
    expect((await podman('unexpose', JSON.stringify({ local: '[::1]:0' }))).status).toBe(200);
  });

  it.each<[string, () => Promise<{ status: number; body: string }>, number, RegExp]>([
    ['a wrong method', () => get('/services/forwarder/expose'), 400, /^post only\n$/],
    ['another path', () => get('/services/dns/all'), 404, /no such resource/],
    ['no JSON', () => podman('expose', '{'), 400, /the body is not JSON/],
    ['JSON that is no map', () => podman('expose', '[]'), 400, /"local" is missing/],
    ['a remote without a port', () => podman('expose', '{"local":":1","remote":"x"}'), 400, /"remote": "x"/],
    [
      'a port over 65535',
      () => podman('expose', '{"local":":65536","remote":":1"}'),
      400,
      /":65536" is not IP:PORT/,
    ],
    ['a socket', () => podman('expose', '{"local":"/x","remote":"y","protocol":"unix"}'), 500, /"unix"/],
    ['a large body', () => podman('expose', ' '.repeat(17_000)), 400, /16384 bytes at the most/],
  ])('refuses %s', async (_name, ask, status, body) => {
    const got = await ask();
    expect(got.status).toBe(status);
    expect(got.body).toMatch(body);
  });

  it("shows the host's own words when a port is taken", async () => {
    const { port } = echo;
    const answer = await podman('expose', JSON.stringify({ local: `127.0.0.1:${port}`, remote: ':1' }));
    const words = `Bind for 127.0.0.1:${port} failed: port is already allocated`;
    expect(answer.status).toBe(500);
    expect(answer.body).toMatch(new RegExp(`^${words}: .+ has 127.0.0.1:${port}\n$`));
  });

  it('keeps its forwards over a restart of the host agent, and takes them along when the shim goes', async () => {
    const local = `127.0.0.2:${echo.port}`;
    await podman('expose', JSON.stringify({ local, remote: `:${echo.port}` }));
    await pair.host.kill('SIGKILL');
    pair.startHost();
    await until('the forward to be back', () =>
      answers(echo.port).then(
        (text) => text === 'podman',
        () => false,
      ),
    );
    await pair.shim.kill('SIGKILL');
    pair.startShim();
    await pair.linked();
    await until('the forward to be gone', async () => (await listForwards(pair.api)).forwards.length === 0);
    api = await apiPort();
    expect(await all()).toEqual([]);
    // A shim that is stopped says so: nothing is left to a grace period.
    expect((await podman('expose', JSON.stringify({ local, remote: `:${echo.port}` }))).status).toBe(200);
    expect(await pair.shim.kill('SIGTERM')).toBe(0);
    expect((await listForwards(pair.api)).forwards).toEqual([]);
  });
});

it('on an address that the VM does not have says how to give it one', async () => {
  const { code, stderr } = await runPortferry(
    ...['vm-shim', '--listen', `${pair.shimUrl}2`, '--gateway-api', '192.0.2.1:80'],
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /192\.0\.2\.1:80: the VM does not have this address.*ip address add 192\.0\.2\.1 dev lo/,
  );
});
