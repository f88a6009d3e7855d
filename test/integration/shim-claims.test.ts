/** Claims that the VM shim makes over its link, through the control filesystem that it serves. */
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { listForwards } from '../helpers/api.ts';
import { loopback, Pair, runPortferry, until } from '../helpers/processes.ts';
import { refuses, roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

let pair: Pair;
let echo: StreamServer;
let other: StreamServer;
beforeAll(async () => {
  [pair, echo, other] = await Promise.all([Pair.start(), tcpEcho(), tcpEcho()]);
});
afterAll(async () => {
  await pair?.close();
  await Promise.all([echo?.close(), other?.close()]);
});
beforeEach(async () => {
  await pair.restart();
  await published(0);
});

/** A client that comes while a port is being opened is not answered, and tries again a second later only. */
const published = (count: number, { api } = pair): Promise<unknown> =>
  until(`${count} to be published`, async () => {
    const list = await listForwards(api).catch(() => undefined);
    return list?.forwards.length === count;
  });

const works = (port: number): Promise<boolean> =>
  roundTrip(port, 'hello').then(
    (answer) => answer === 'hello',
    () => false,
  );
const claimInVm = (spec: string) => pair.claim(spec, pair.portFsUrl);

describe('a claim in the tree of the shim', () => {
  it('publishes on the host, belongs to the shim, and ends with kill -9 of the claimer', async () => {
    expect(statSync(pair.portFsUrl.slice('unix://'.length)).mode & 0o777).toBe(0o600);
    const { running, spec, port } = await claimInVm(loopback('tcp', echo.port));
    expect(await works(port)).toBe(true);
    const { forwards } = await listForwards(pair.api);
    expect(forwards.map((each) => [each.spec, each.owner])).toEqual([[spec, 'shim:default']]);
    await running.kill('SIGKILL');
    await until('the port to refuse', () => refuses(port));
    expect((await listForwards(pair.api)).forwards).toEqual([]);
  });

  it('is refused in the words of the host', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as { port: number };
    const spec = loopback('tcp', echo.port, port);
    const { code, stderr } = await runPortferry('claim', spec, '--control', pair.portFsUrl);
    taken.close();
    expect(code).toBe(1);
    expect(stderr).toContain(`: Bind for 127.0.0.1:${port} failed: port is already allocated`);
    expect(stderr).toContain('[PORT_IN_USE]');
    // Nothing of it is left: the port can be had.
    expect((await claimInVm(spec)).port).toBe(port);
  });

  it('outlives kill -9 of the host agent: the port is back, the claimer has noticed nothing', async () => {
    // The same twice: who asks for any free port gets another one.
    const claims = await Promise.all([echo, echo].map(({ port }) => claimInVm(loopback('tcp', port))));
    await pair.host.kill('SIGKILL');
    for (const { port } of claims) await until('the port to be gone', () => refuses(port));
    pair.startHost();
    await published(2);
    for (const { port, running } of claims) {
      await until(`port ${port} to work again`, () => works(port));
      expect([running.child.exitCode, running.stderr()]).toEqual([null, '']);
    }
    await claims[0]!.running.kill('SIGTERM');
    await until('the released one to refuse', () => refuses(claims[0]!.port));
    expect(await works(claims[1]!.port)).toBe(true);
  });

  it('outlives a stop of the host agent too, and gets a port that was taken meanwhile when it is free', async () => {
    const { port } = await claimInVm(loopback('tcp', echo.port));
    expect(await pair.host.kill('SIGTERM')).toBe(0);
    const thief = createServer().listen(port, '127.0.0.1');
    await new Promise((resolve) => thief.once('listening', resolve));
    pair.startHost();
    await until('the refusal', () => pair.shim.stderr().includes('not published again: Bind for'));
    await new Promise((resolve) => thief.close(resolve));
    await published(1);
    await until('the port to work again', () => works(port));
  });

  it('stays bound when the shim is killed, and ends at once when another instance says hello', async () => {
    const { port, spec } = await claimInVm(loopback('tcp', echo.port));
    await pair.shim.kill('SIGKILL');
    await until('the link to be down', async () => !(await listForwards(pair.api)).vms[0]!.up);
    expect((await listForwards(pair.api)).forwards.map((each) => each.spec)).toEqual([spec]);
    pair.startShim();
    await pair.linked();
    await until('the ghost to be gone', () => refuses(port));
    // A new claimer gets the very port.
    expect((await claimInVm(spec)).port).toBe(port);
    expect(await works(port)).toBe(true);
  });

  it('is released when the shim stops', async () => {
    const { port, running } = await claimInVm(loopback('tcp', echo.port));
    expect(await pair.shim.kill('SIGTERM')).toBe(0);
    expect(await refuses(port)).toBe(true);
    expect(await running.exited).toBe(1);
    expect(running.stderr()).toContain('is no longer published');
  });

  it('that somebody removes on the host stays removed, over a restart of the host agent too', async () => {
    const { port, running } = await claimInVm(loopback('tcp', echo.port));
    const kept = await claimInVm(loopback('tcp', other.port));
    const spec = loopback('tcp', echo.port, port);
    expect((await runPortferry('unexpose', spec, '--api', pair.api)).code).toBe(0);
    expect(await running.exited).toBe(1);
    expect(running.stderr()).toContain(`${spec} was removed on the host [CANCELLED]`);
    expect(pair.shim.stderr()).toContain(`ended by the host: ${spec} was removed on the host`);
    await pair.host.kill('SIGKILL');
    pair.startHost();
    await published(1);
    await until('the other port to work again', () => works(kept.port));
    expect(await refuses(port)).toBe(true);
  });
});

// On this lane of the Linux engine the session of the link, and with it every control message, passes through a worker.
it('on the multiplexed lane a claim outlives the host agent too, and is released when the shim stops', async () => {
  const muxed = await Pair.start('multiplexed');
  try {
    const { port } = await muxed.claim(loopback('tcp', echo.port), muxed.portFsUrl);
    expect(await works(port)).toBe(true);
    await muxed.host.kill('SIGKILL');
    await until('the port to be gone', () => refuses(port));
    muxed.startHost();
    await published(1, muxed);
    await until('the port to work again', () => works(port));
    expect(await muxed.shim.kill('SIGTERM')).toBe(0);
    expect(await refuses(port)).toBe(true);
  } finally {
    await muxed.close();
  }
});

it('without a host agent, a claim is told so within 10 s', async () => {
  await pair.host.kill('SIGKILL');
  const spec = loopback('tcp', echo.port);
  const { code, stderr } = await runPortferry('claim', spec, '--control', pair.portFsUrl);
  expect(code).toBe(1);
  expect(stderr).toContain('no link to a host agent that takes claims for 8 s');
});
