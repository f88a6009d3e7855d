/** The bytes a second of a VM, in whatever thread and on whichever lane they are carried. */
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callApi } from '../helpers/api.ts';
import { lanesAndEngines } from '../helpers/engines.ts';
import { hostPort, loopback, until } from '../helpers/processes.ts';
import { reverseSpec } from '../helpers/reverse.ts';
import { connectTo, fateOf, readAll, readExactly } from '../helpers/stream-client.ts';
import { answered, PLENTY, Stage } from '../helpers/two-vm-stage.ts';
import { udpEcho, udpPeer } from '../helpers/udp-peer.ts';

const MESSAGE = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index * (index >> 8)));

describe.each(lanesAndEngines)('%s lane, %s engine', (lane, engine) => {
  let stage: Stage;
  const noLimit = (): Promise<void> => stage.enforce(`lane = "${lane}"`);
  const limit = (bytes: number): Promise<void> =>
    stage.enforce(
      `lane = "${lane}"`,
      '[vm.a.policy]',
      'allow-reverse = ["127.0.0.1"]',
      `bytes-per-second = ${bytes}`,
    );

  beforeAll(async () => {
    stage = await Stage.set(engine, PLENTY, `lane = "${lane}"`);
  });

  afterEach(noLimit);

  afterAll(() => stage?.close());

  it('holds for connections that run, and fairly; then another limit does, or none', async () => {
    const { ports, container } = stage;
    const clients = await Promise.all([ports[0]!, ports[0]!, ports[1]!].map((port) => helloTo(port)));
    const carried = () => [...clients, ...container.sockets].reduce((sum, each) => sum + each.bytesRead, 0);
    const before = carried();
    const began = performance.now();
    await limit(200_000);
    const got = clients.map((client) => receive(client));
    for (const client of clients) client.end(MESSAGE);
    // One cannot have all before the others have some.
    await until('all to get some', () => got.every(({ bytes }) => bytes() > 20_000));
    expect(Math.max(...got.map(({ bytes }) => bytes()))).toBeLessThan(MESSAGE.length);
    const sum = carried() - before;
    const seconds = (performance.now() - began) / 1_000;
    expect(sum).toBeLessThanOrEqual(200_000 * (seconds + 0.1));
    expect(seconds).toBeGreaterThan(0.4);

    // Whom it does not concern.
    const other = await connectTo(ports[2]!);
    other.end(MESSAGE);
    expect((await readAll(other)).equals(MESSAGE)).toBe(true);

    await limit(2_000_000);
    await until('a higher limit', () => got.every(({ bytes }) => bytes() > 100_000));
    await noLimit();
    for (const { all } of got) expect((await all).equals(MESSAGE)).toBe(true);
    await stage.quiet();
  });

  it('holds for services of the host that are published in the VM', async () => {
    await limit(200_000);
    const spec = await stage.expose(reverseSpec(stage.container.port));
    const client = await helloTo(Number(spec.split(':').at(-1)));
    const message = MESSAGE.subarray(0, 50_000);
    const began = performance.now();
    client.end(message);
    expect((await readAll(client)).equals(message)).toBe(true);
    // There and back; a tenth of a second is free.
    expect((performance.now() - began) / 1_000).toBeGreaterThan((2 * message.length) / 200_000 - 0.1);
    await callApi(stage.api, 'DELETE', { spec });
    await stage.quiet();
  });

  it('who waits is reset or stopped at once', async () => {
    await limit(1_000);
    const { container } = stage;
    const spec = await stage.expose(loopback('tcp', container.port));
    const port = hostPort(spec);
    const [resets, stopped, halfClosed] = [
      await connectTo(port),
      await connectTo(port),
      await connectTo(port),
    ];
    for (const client of [resets, stopped, halfClosed]) client.write(Buffer.alloc(8_000));
    halfClosed.end();
    await until('all to be served', () => container.sockets.size === 3);
    const fates = [...container.sockets].map(
      (socket) => new Promise((resolve) => socket.on('error', resolve)),
    );
    await until('all to wait', async () => (await stage.statsOf(spec))!.bytes_up! > 100);
    resets.resetAndDestroy();
    expect(await Promise.race(fates)).toMatchObject({ code: 'ECONNRESET' });
    await until('one to be gone', async () => (await stage.sum('active')) === 2);

    const ends = Promise.all([fateOf(stopped), fateOf(halfClosed)]);
    await callApi(stage.api, 'DELETE', { spec, now: true });
    for (const { how } of await ends) expect(how).toBe('ECONNRESET');
    await stage.quiet();
  });

  it('lets datagrams through, however many connections wait', async () => {
    const [container, client] = [await udpEcho(), await udpPeer()];
    try {
      const spec = await stage.expose(loopback('udp', container.port));
      const port = hostPort(spec);
      await answered(client, port);
      const clients = await Promise.all(Array.from({ length: 8 }, () => helloTo(stage.ports[0]!)));
      await limit(200_000);
      const got = clients.map((each) => receive(each));
      for (const each of clients) each.end(MESSAGE);
      await until('all to get some', () => got.every(({ bytes }) => bytes() > 0));
      const { dropped } = (await stage.statsOf(spec))!;
      client.received.length = 0;
      for (let sent = 0; sent < 40; sent++) client.send(Buffer.alloc(50), port);
      await until('all answers', () => client.received.length >= 40);
      expect((await stage.statsOf(spec))!.dropped).toBe(dropped);
      // They wait still.
      expect(got.every(({ bytes }) => bytes() < MESSAGE.length)).toBe(true);
      await noLimit();
      for (const { all } of got) expect((await all).equals(MESSAGE)).toBe(true);
      await callApi(stage.api, 'DELETE', { spec });
    } finally {
      await Promise.all([container.close(), client.close()]);
    }
    await stage.quiet();
  });

  it('drops datagrams that are too many, and no others', async () => {
    const [container, client] = [await udpEcho(), await udpPeer()];
    try {
      const spec = await stage.expose(loopback('udp', container.port));
      const port = hostPort(spec);
      await answered(client, port);
      const before = (await stage.statsOf(spec))!;
      const began = performance.now();
      await limit(10_000);
      for (let sent = 0; sent < 40; sent++) client.send(Buffer.alloc(500), port);
      await until('all to be seen', async () => {
        const { datagrams_up: up, dropped } = (await stage.statsOf(spec))!;
        return up! + dropped! - before.datagrams_up! - before.dropped! >= 40;
      });
      const after = (await stage.statsOf(spec))!;
      const seconds = (performance.now() - began) / 1_000;
      const bytes = after.bytes_up! + after.bytes_down! - before.bytes_up! - before.bytes_down!;
      expect(after.dropped).toBeGreaterThan(before.dropped!);
      // Each bucket admits a datagram whole when there is room for its first byte.
      expect(bytes).toBeLessThanOrEqual(10_000 * (seconds + 0.1) + 1_000);

      await noLimit();
      const dropped = (await stage.statsOf(spec))!.dropped!;
      client.received.length = 0;
      for (let sent = 0; sent < 40; sent++) client.send(Buffer.alloc(500), port);
      await until('all answers', () => client.received.length >= 40);
      expect((await stage.statsOf(spec))!.dropped).toBe(dropped);
      await callApi(stage.api, 'DELETE', { spec });
    } finally {
      await Promise.all([container.close(), client.close()]);
    }
  });
});

/** A connection that is open at both ends. */
async function helloTo(port: number): Promise<Socket> {
  const socket = await connectTo(port);
  socket.write('hello');
  await readExactly(socket, 5);
  return socket;
}

function receive(socket: Socket): { bytes: () => number; all: Promise<Buffer> } {
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  return { bytes: () => bytes, all: readAll(socket) };
}
