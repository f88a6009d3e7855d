import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { lastingPort } from '../../helpers/lasting-port.ts';
import { descriptorCount, NO_PROC } from '../../helpers/process-figures.ts';
import { logLines, loopback, until } from '../../helpers/processes.ts';
import { resettingServer } from '../../helpers/resetting-server.ts';
import {
  connectTo,
  type Fate,
  fateOf,
  fateOfNew,
  readExactly,
  roundTrip,
} from '../../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../../helpers/stream-server.ts';
import { tcpEcho } from '../../helpers/tcp-echo.ts';
import type { Carrier } from './carrier.ts';

/** Listens with room for few and never accepts, because it is stopped: further connects hang. */
const STOPPED_SERVER = `
  const server = require('node:net').createServer();
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
    process.stdout.write(server.address().port + '\\n');
  });`;

export function resets(carrier: Carrier): void {
  let containers: Array<{ close(): Promise<void> }> = [];

  afterEach(async () => {
    await Promise.all(containers.map((container) => container.close()));
    containers = [];
  });

  const publish = async (container: StreamServer): Promise<{ spec: string; port: number }> => {
    containers.push(container);
    return carrier.pair.expose(loopback('tcp', container.port));
  };

  /** A container that answers each chunk and notes how its clients end. */
  const watched = async (): Promise<{ container: StreamServer; fates: Array<Promise<Fate>> }> => {
    const fates: Array<Promise<Fate>> = [];
    const container = await serveStreams((socket) => {
      fates.push(fateOf(socket));
      socket.on('data', () => socket.write('answer'));
    });
    return { container, fates };
  };

  it('a reset by the client reaches the container as one', async () => {
    const { container, fates } = await watched();
    const { spec, port } = await publish(container);
    const client = await connectTo(port);
    client.write('question');
    await readExactly(client, 'answer'.length);
    client.resetAndDestroy();
    await until('the container to have a client', () => fates.length === 1);
    expect(await fates[0]).toEqual({ how: 'ECONNRESET', bytes: 'question'.length });
    await carrier.pair.quiet(spec);
    expect((await carrier.pair.stats(spec)).resets).toBe(1);
  });

  it('a reset right behind the last bytes is still no end', async () => {
    const { container, fates } = await watched();
    const { spec, port } = await publish(container);
    for (let i = 0; i < 40; i++) {
      const client = await connectTo(port);
      // The answer shows that both ends are up; from then on bytes and reset follow each other at once.
      client.write('question');
      await readExactly(client, 'answer'.length);
      client.write(Buffer.alloc(1 + i * 997));
      client.resetAndDestroy();
    }
    await until('the container to have all clients', () => fates.length === 40);
    const hows = (await Promise.all(fates)).map(({ how }) => how);
    expect(hows).toEqual(Array.from({ length: 40 }, () => 'ECONNRESET'));
    await carrier.pair.quiet(spec);
  });

  it('a reset by a client that has half-closed reaches the container', async () => {
    let answer: (() => void) | undefined;
    let how: string | undefined;
    const { spec, port } = await publish(
      await serveStreams((socket) => {
        socket.on('error', (error: NodeJS.ErrnoException) => {
          how = error.code;
        });
        socket.resume();
        socket.on('end', () => {
          answer = () => void socket.write('part of the answer');
          answer();
        });
      }),
    );
    const client = await connectTo(port);
    client.end('question');
    await readExactly(client, 'part of the answer'.length);
    client.resetAndDestroy();
    // The container has read the end already, so it meets the reset when it writes.
    await until('the container to be told', () => {
      if (how === undefined) answer!();
      return how;
    });
    expect(['ECONNRESET', 'EPIPE']).toContain(how);
    await carrier.pair.quiet(spec);
  });

  it('a reset by the container reaches the client as one, behind what it sent', async () => {
    const { spec, port } = await publish(await resettingServer('greeting'));
    const client = await connectTo(port);
    await readExactly(client, 'greeting'.length);
    const fate = fateOf(client);
    client.write('anything');
    expect(await fate).toEqual({ how: 'ECONNRESET', bytes: 0 });
    await carrier.pair.quiet(spec);
    expect((await carrier.pair.stats(spec)).resets).toBe(1);
  });

  it('a container that resets in the middle of a transfer never looks like one that ended', async () => {
    const { spec, port } = await publish(
      await serveStreams((socket) => {
        socket.write(Buffer.alloc(300_000), () => socket.resetAndDestroy());
      }),
    );
    const fates = await Promise.all(Array.from({ length: 40 }, () => fateOfNew(port)));
    expect(fates.map(({ how }) => how)).toEqual(Array.from({ length: 40 }, () => 'ECONNRESET'));
    await carrier.pair.quiet(spec);
  });

  it('where the container port is closed a client is reset, and gets no byte and no end', async () => {
    const gone = await lastingPort();
    const { spec, port } = await carrier.pair.expose(loopback('tcp', gone));
    const fates = await Promise.all(
      Array.from({ length: 10 }, (_, i) => fateOfNew(port, i % 2 === 0 ? 'anybody there?' : '')),
    );
    expect(fates).toEqual(Array.from({ length: 10 }, () => ({ how: 'ECONNRESET', bytes: 0 })));
    await carrier.pair.quiet(spec);
    expect(await carrier.pair.stats(spec)).toMatchObject({ connections: 10, dial_failures: 10 });
    const said = () =>
      logLines(carrier.pair.host.stderr()).filter(
        ({ forward, msg }) => forward === spec && msg?.startsWith('a client was reset: '),
      );
    const lines = await until('a line for each', () => said().length === 10 && said());
    for (const { client, code, msg } of lines) {
      expect(code).toBe('DIAL_REFUSED');
      expect(client).toMatchObject({ ip: '127.0.0.1', port: expect.any(Number) });
      expect(msg).toContain(`: tcp 127.0.0.1:${gone} in the VM: `);
    }

    // The port opens later: the same forward works.
    containers.push(await tcpEcho(gone));
    expect(await roundTrip(port, 'now there is')).toBe('now there is');
  });

  it('a client that resets while its container is being dialled leaves nothing behind', async (context) => {
    const stopped = carrier.pair.group.startNode('-e', STOPPED_SERVER);
    await until('the server to listen', () => stopped.stdout().includes('\n'));
    const target = Number(stopped.stdout());
    process.kill(stopped.pid, 'SIGSTOP');
    const fillers = await fill(target);
    if (fillers === undefined) {
      const why = 'skipped: this system lets connections to a full backlog through, so no dial can hang';
      console.log(why);
      return context.skip(why);
    }
    try {
      const before = descriptorCount(carrier.pair.shim.pid);
      const { spec, port } = await carrier.pair.expose(loopback('tcp', target));
      const clients = await Promise.all(Array.from({ length: 10 }, () => connectTo(port)));
      await until('all to be dialling', async () => (await carrier.pair.stats(spec)).active === 10);
      if (before === undefined) console.log(NO_PROC);
      else await until('the shim to dial', () => descriptorCount(carrier.pair.shim.pid)! >= before + 10);
      for (const client of clients) client.resetAndDestroy();
      await carrier.pair.quiet(spec);
      if (before !== undefined)
        await until(
          'the shim to give its sockets up',
          () => descriptorCount(carrier.pair.shim.pid)! <= before,
        );
      // Given up because the clients went, and not because the container kept silent for too long.
      expect((await carrier.pair.stats(spec)).dial_failures).toBe(0);
    } finally {
      for (const filler of fillers) filler.destroy();
      await stopped.kill('SIGKILL');
    }
  });

  it('a client that resets while the shim is stopped gives its container no clean end', async () => {
    const { container, fates } = await watched();
    const { spec, port } = await publish(container);
    process.kill(carrier.pair.shim.pid, 'SIGSTOP');
    try {
      const clients = await Promise.all(Array.from({ length: 10 }, () => connectTo(port)));
      for (const client of clients) client.write('question');
      await until('all to be dialling', async () => (await carrier.pair.stats(spec)).active === 10);
      for (const client of clients) client.resetAndDestroy();
    } finally {
      process.kill(carrier.pair.shim.pid, 'SIGCONT');
    }
    await carrier.pair.quiet(spec);
    expect(await roundTripAnswer(port)).toBe('answer');
    const ends = (await Promise.all(fates.slice(0, -1))).filter(({ how }) => how === 'end');
    expect(ends).toEqual([]);
  });
}

/** Takes every place in a stopped server's backlog; undefined when connections never stop succeeding. */
async function fill(port: number): Promise<Awaited<ReturnType<typeof connectTo>>[] | undefined> {
  const { connect } = await import('node:net');
  const fillers: Awaited<ReturnType<typeof connectTo>>[] = [];
  for (let i = 0; i < 16; i++) {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => {});
    fillers.push(socket);
    const connected = await Promise.race([
      new Promise<boolean>((resolve) => socket.once('connect', () => resolve(true))),
      delay(300, false),
    ]);
    if (!connected) return fillers;
  }
  for (const socket of fillers) socket.destroy();
  return undefined;
}

async function roundTripAnswer(port: number): Promise<string> {
  const client = await connectTo(port);
  client.write('question');
  const answer = (await readExactly(client, 'answer'.length)).toString();
  client.destroy();
  return answer;
}
