/** The options of a forward at every door; what they do is in carried/options.ts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { P9Client } from '../../shared/p9/client.ts';
import { lastingPort } from '../helpers/lasting-port.ts';
import { hostPort, loopback, Pair, runPortferry, until } from '../helpers/processes.ts';
import { connectTo, fateOfNew, roundTrip } from '../helpers/stream-client.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

/** What the `status` files of a control filesystem hold, of all entries. */
async function statusOf(url: string): Promise<string> {
  const socket = await connectTo(url.slice('unix://'.length));
  const client = await P9Client.connect(socket);
  const root = await client.walk([]);
  await client.open(root, 'read');
  const entries = (await client.readdir(root)).filter(({ directory }) => directory);
  const texts = entries.map(async ({ name }) => {
    const fid = await client.walk([name, 'status']);
    await client.open(fid, 'read');
    return `${Buffer.from(await client.read(fid, 0, 4_096))}`;
  });
  const all = (await Promise.all(texts)).join('');
  client.close();
  return all;
}

describe('the doors', () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await Pair.start();
  });
  afterAll(() => pair.close());

  it('takes them through every door, and shows them', async () => {
    const server = await tcpEcho();
    try {
      const spec = (port: number) => `${loopback('tcp', server.port, port)}?idle-timeout=600&keepalive=30`;
      const short = await runPortferry(
        'expose',
        `${server.port}/tcp?keepalive=30&idle-timeout=600`,
        '--api',
        pair.api,
      );
      const claims = [short.stdout.trim()];
      for (const control of [pair.controlUrl, pair.portFsUrl]) {
        const claimed = await pair.claim(
          `${loopback('tcp', server.port)}?keepalive=30&idle-timeout=600`,
          control,
        );
        claims.push(claimed.spec);
      }
      const unborn = await runPortferry('expose', '1?wait=listening', '--api', pair.api);
      const { stdout: list } = await runPortferry('list', '--api', pair.api);
      expect(list).toMatch(/DOWN +STATE\n/);
      expect(list).toMatch(new RegExp(`^${unborn.stdout.trim().replace('?', '\\?')} .*waiting`, 'm'));
      for (const resolved of claims) {
        expect(resolved).toBe(spec(hostPort(resolved)));
        expect(list).toContain(`${resolved} `);
        expect(await roundTrip(hostPort(resolved), 'hello')).toBe('hello');
      }
    } finally {
      await server.close();
    }
  });

  it.each(['controlUrl', 'portFsUrl'] as const)('status shows who waits (%s)', async (tree) => {
    const gone = await lastingPort();
    const { spec, running } = await pair.claim(`${loopback('tcp', gone)}?wait=listening`, pair[tree]);
    const shown = (text: RegExp) =>
      until(`status to say ${text}`, async () => text.test(await statusOf(pair[tree])));
    await shown(/^resolved .*\?wait=listening\nforward .*, waiting\n/m);
    const server = await tcpEcho(gone);
    await shown(/^forward .*, listening\n/m);
    expect(await roundTrip(hostPort(spec), 'hello')).toBe('hello');
    await server.close();
    expect((await fateOfNew(hostPort(spec))).how).toBe('ECONNRESET');
    await shown(/^forward .*, waiting\n/m);
    expect(await running.kill()).toBe(0);
  });

  it.each([
    ['80?colour=red', /unknown option colour \(known: idle-timeout, keepalive, proxy-protocol, wait\)/],
    ['80?wait=ready', /wait must be listening/],
    ['53/udp?proxy-protocol=v2', /option proxy-protocol is not for udp/],
  ])('refuses %s as wrong usage, and at every other door', async (text, reason) => {
    const { code, stderr } = await runPortferry('expose', text, '--api', pair.api);
    expect([code, stderr]).toEqual([2, expect.stringMatching(reason)]);
    const full = text.replace(/^(\d+)(?:\/(udp))?/, (_, port, udp) => loopback(udp ?? 'tcp', port));
    await expect(pair.expose(full)).rejects.toThrow(reason);
  });

  it('refuses the same port with other options, and removes it with or without naming them', async () => {
    const { spec, port } = await pair.expose(`${loopback('tcp', 80)}?keepalive=30`);
    const again = await runPortferry('expose', `${port}:80?keepalive=31`, '--api', pair.api);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain(`published with other options already, as ${spec}: unexpose that first`);
    expect((await runPortferry('unexpose', `${port}:80?keepalive=31`, '--api', pair.api)).code).toBe(1);
    const removed = await runPortferry('unexpose', `${port}:80`, '--api', pair.api);
    expect(removed).toMatchObject({ code: 0, stdout: `${spec}\n` });
  });
});
