/** The options of a forward at every door; what they do is in carried/options.ts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostPort, loopback, Pair, runPortferry } from '../helpers/processes.ts';
import { roundTrip } from '../helpers/stream-client.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

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
