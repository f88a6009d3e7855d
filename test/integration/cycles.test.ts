import { Agent } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callApi, listForwards } from '../helpers/api.ts';
import { descriptorCount, NO_PROC } from '../helpers/process-figures.ts';
import { hostPort, loopback, Pair, until } from '../helpers/processes.ts';
import { connectTo, fateOf, readExactly } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

const CYCLES = 2_000;
/** Descriptors that may come and go by themselves, e.g. a connection of the API that is being closed. */
const SLACK = 4;

let pair: Pair;
let container: StreamServer;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

beforeAll(async () => {
  const workers = ['--workers', '2'];
  pair = await Pair.start('auto', 'auto', workers, workers);
  container = await tcpEcho();
});

afterAll(async () => {
  agent.destroy();
  await pair?.close();
  await container?.close();
});

async function expose(spec: string): Promise<string> {
  const { status, body } = await callApi(pair.api, 'POST', { spec }, agent);
  expect(status).toBe(201);
  return (body as { spec: string }).spec;
}

async function unexpose(spec: string, now: boolean): Promise<void> {
  const { status } = await callApi(pair.api, 'DELETE', { spec, now }, agent);
  expect(status).toBe(200);
}

function descriptors(): { host: number; shim: number } | undefined {
  const host = descriptorCount(pair.host.pid);
  const shim = descriptorCount(pair.shim.pid);
  return host === undefined || shim === undefined ? undefined : { host, shim };
}

async function expectNoneLeft(before: ReturnType<typeof descriptors>): Promise<void> {
  if (before === undefined) return console.log(NO_PROC);
  const after = await until('descriptors to be given back', () => {
    const now = descriptors()!;
    return now.host <= before.host + SLACK && now.shim <= before.shim + SLACK && now;
  }).catch(() => descriptors()!);
  console.log(`descriptors: host ${before.host} -> ${after.host}, shim ${before.shim} -> ${after.shim}`);
  expect(after.host).toBeLessThanOrEqual(before.host + SLACK);
  expect(after.shim).toBeLessThanOrEqual(before.shim + SLACK);
}

describe('exposing and unexposing', () => {
  it('2,000 times leaves no descriptor behind', async () => {
    const kinds = [
      loopback('tcp', container.port),
      loopback('udp', container.port),
      `tcp:0.0.0.0:0:tcp:127.0.0.1:${container.port}`,
    ];
    for (let i = 0; i < 30; i++) await unexpose(await expose(kinds[i % kinds.length]!), false);
    const before = descriptors();
    const begun = performance.now();
    for (let i = 0; i < CYCLES; i++) await unexpose(await expose(kinds[i % kinds.length]!), i % 2 === 0);
    console.log(`${CYCLES} cycles in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    expect((await listForwards(pair.api)).forwards).toEqual([]);
    await expectNoneLeft(before);
  });

  it('one fixed port 200 times always finds it free again', async () => {
    const first = await expose(loopback('tcp', container.port));
    for (let i = 0; i < 200; i++) {
      await unexpose(first, false);
      expect(await expose(first)).toBe(first);
    }
    await unexpose(first, false);
  });

  it('100 times under a live connection, at once, resets it and leaves nothing behind', async () => {
    const before = descriptors();
    for (let i = 0; i < 100; i++) {
      const spec = await expose(loopback('tcp', container.port));
      const client = await connectTo(hostPort(spec));
      client.write('hello');
      expect((await readExactly(client, 5)).toString()).toBe('hello');
      const fate = fateOf(client);
      await unexpose(spec, true);
      expect((await fate).how).toBe('ECONNRESET');
    }
    await until('the container to be left alone', () => container.sockets.size === 0);
    await expectNoneLeft(before);
  });
});
