import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { canListen } from '../../helpers/port-is-free.ts';
import { loopback, until } from '../../helpers/processes.ts';
import { connectTo, fateOf, readExactly, refuses, roundTrip } from '../../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../../helpers/stream-server.ts';
import { tcpEcho } from '../../helpers/tcp-echo.ts';
import type { Carrier } from './carrier.ts';

/** A round trip that may need a few tries while a link comes back: a client that waited in vain is reset. */
function worksAgain(port: number): Promise<boolean> {
  return until('the forward to work again', () =>
    roundTrip(port, 'again').then(
      (answer) => answer === 'again',
      () => false,
    ),
  );
}

export function kills(carrier: Carrier): void {
  const { lane } = carrier;
  let echo: StreamServer;
  /** Sends without end to whoever connects. */
  let source: StreamServer;

  beforeAll(async () => {
    echo = await tcpEcho();
    source = await serveStreams((socket) => {
      const block = Buffer.alloc(64 * 1024);
      const more = (): void => {
        while (!socket.destroyed && socket.write(block));
      };
      socket.on('drain', more);
      more();
    });
  });

  afterAll(async () => {
    await Promise.all([echo?.close(), source?.close()]);
  });

  beforeEach(() => carrier.pair.restart());
  afterEach(() => until('the container to be left alone', () => echo.sockets.size === 0));

  /** Publishes the container, and has a client at it. */
  const live = async () => {
    const published = await carrier.pair.expose(loopback('tcp', echo.port));
    const client = await connectTo(published.port);
    client.write('hello');
    await readExactly(client, 5);
    return { ...published, fate: fateOf(client), atContainer: fateOf([...echo.sockets][0]!) };
  };

  // Who opened the streams makes no difference to a claim.
  if (lane !== 'shim-dialled') {
    it('kill -9 of a claim frees its port', async () => {
      const { running, port } = await carrier.pair.claim(loopback('tcp', echo.port));
      expect(await roundTrip(port, 'served')).toBe('served');
      const dead = new Promise((resolve) => running.child.once('exit', resolve));
      void running.kill('SIGKILL');
      await dead;
      const begun = performance.now();
      await until('the port to refuse', () => refuses(port));
      const took = performance.now() - begun;
      console.log(`${lane}: the port refused ${took.toFixed(0)} ms after kill -9 of its claim`);
      expect(await canListen(port)).toBe(true);
    });

    it('SIGTERM ends a claim with exit 0, and its port is free', async () => {
      const { running, port, spec } = await carrier.pair.claim(loopback('tcp', echo.port));
      const client = await connectTo(port);
      client.write('one');
      await readExactly(client, 3);
      expect(await running.kill('SIGTERM')).toBe(0);
      expect(await refuses(port)).toBe(true);
      // A connection that runs finishes in peace.
      client.write('two');
      expect((await readExactly(client, 3)).toString()).toBe('two');
      client.destroy();
      const again = await carrier.pair.claim(spec);
      expect(again.port).toBe(port);
      expect(await again.running.kill('SIGINT')).toBe(0);
    });
  }

  it('kill -9 of the shim resets running clients, and the forward works with the next shim', async () => {
    const { port } = await carrier.pair.expose(loopback('tcp', echo.port));
    const bulk = await carrier.pair.expose(loopback('tcp', source.port));
    const idle = await Promise.all(Array.from({ length: 5 }, () => connectTo(port)));
    for (const client of idle) {
      client.write('hello');
      expect((await readExactly(client, 5)).toString()).toBe('hello');
    }
    const busy = await Promise.all(Array.from({ length: 5 }, () => connectTo(bulk.port)));
    const fates = [...idle, ...busy].map(async (client) => {
      const { how } = await fateOf(client);
      return { how, at: performance.now() };
    });
    await until('the transfers to run', () => busy.every(({ bytesRead }) => bytesRead > 1_000_000));
    const begun = performance.now();
    await carrier.pair.shim.kill('SIGKILL');
    const ends = await Promise.all(fates);
    expect(ends.map(({ how }) => how)).toEqual(ends.map(() => 'ECONNRESET'));
    const took = Math.max(...ends.map(({ at }) => at)) - begun;
    console.log(`${lane}: the last client was reset ${took.toFixed(0)} ms after kill -9 of the shim`);

    carrier.pair.startShim();
    expect(await worksAgain(port)).toBe(true);
  });

  it('clients that run are reset as soon as another shim takes the place of a killed one', async () => {
    const { spec, port, fate } = await live();
    await carrier.pair.shim.kill('SIGKILL');
    carrier.pair.startShim();
    expect((await fate).how).toBe('ECONNRESET');
    expect(await worksAgain(port)).toBe(true);
    await carrier.pair.quiet(spec);
  });

  it('kill -9 of the host agent frees its ports, and the shim serves the next one', async () => {
    const { spec, port, fate } = await live();
    await carrier.pair.host.kill('SIGKILL');
    expect(await canListen(port)).toBe(true);
    await fate; // the kernel closes it; whether as an end or a reset is not ours to say
    await until('the shim to let its container go', () => echo.sockets.size === 0);

    carrier.pair.startHost();
    await carrier.pair.linked();
    expect((await carrier.pair.expose(spec)).spec).toBe(spec);
    expect(await roundTrip(port, 'again')).toBe('again');
  });

  it('SIGTERM of the shim under a live connection ends it by reset on both sides', async () => {
    const { fate, atContainer } = await live();
    expect(await carrier.pair.shim.kill('SIGTERM')).toBe(0);
    expect((await fate).how).toBe('ECONNRESET');
    expect((await atContainer).how).toBe('ECONNRESET');
  });

  it('SIGTERM ends the agent and the shim with exit 0, and running clients are reset', async () => {
    const { port, fate, atContainer } = await live();
    expect(await carrier.pair.host.kill('SIGTERM')).toBe(0);
    expect((await fate).how).toBe('ECONNRESET');
    expect((await atContainer).how).toBe('ECONNRESET');
    expect(await canListen(port)).toBe(true);
    expect(await carrier.pair.shim.kill('SIGTERM')).toBe(0);
  });
}
