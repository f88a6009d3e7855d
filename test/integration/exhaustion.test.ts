/** Descriptors run out under a running program: nobody is lost silently, nothing spins, and it passes by itself. */

import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type EngineName, engines } from '../helpers/engines.ts';
import { cpuSeconds, limitDescriptors } from '../helpers/process-figures.ts';
import { logLines, loopback, Pair, type Running, until } from '../helpers/processes.ts';
import { roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

const CLIENTS = 40;
/** Each connection takes two. */
const SPARE = 24;
const LOOK_MS = 1_000;

/** A client that writes a word, and what has become of it. */
interface Client {
  readonly socket: Socket;
  served: boolean;
  over: boolean;
}

function connectAll(port: number): Client[] {
  return Array.from({ length: CLIENTS }, () => {
    // Not connectTo: one that is turned away may be reset before it knows that it was connected.
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const client = { socket, served: false, over: false };
    socket.on('error', () => {});
    socket.on('data', () => {
      client.served = true;
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      client.over = true;
    });
    socket.write('hello');
    return client;
  });
}

const cases = engines.flatMap((engine) => [[engine, 'host'] as const, [engine, 'shim'] as const]);

describe.each(cases)('%s engine, descriptors of the %s', (engine: EngineName, side) => {
  let pair: Pair;
  let echo: StreamServer;

  afterEach(async () => {
    await pair?.close();
    await echo?.close();
  });

  /** How often the log says it. */
  function said(running: Running, text: string): number {
    return logLines(running.stderr()).filter(({ msg }) => msg?.includes(text)).length;
  }

  it('run out, and come back', async (context) => {
    pair = await Pair.start('dedicated', engine);
    echo = await tcpEcho();
    const { spec, port } = await pair.expose(loopback('tcp', echo.port));
    expect(await roundTrip(port, 'before')).toBe('before');
    await pair.quiet(spec);
    const starved = pair[side];
    const whyNot = limitDescriptors(starved.pid, SPARE);
    if (whyNot !== undefined) return context.skip(whyNot);

    const clients = connectAll(port);
    const count = (what: 'served' | 'over') => clients.filter((client) => client[what]).length;
    if (engine === 'linux') await until('the log', () => said(starved, 'out of descriptors or memory') > 0);
    else await until('all to be served or ended', () => clients.every(({ served, over }) => served || over));
    await until('some to be served', () => count('served') > 0);
    expect(count('served')).toBeLessThan(CLIENTS);

    const before = cpuSeconds(starved.pid);
    await delay(LOOK_MS);
    expect(cpuSeconds(starved.pid) - before).toBeLessThan((0.5 * LOOK_MS) / 1_000);

    // Those who have been served make room for those who wait.
    await until('all to be served or ended', () => {
      for (const { socket, served } of clients) if (served) socket.destroy();
      return clients.every(({ over }) => over);
    });
    if (engine === 'linux') {
      expect(count('served')).toBe(CLIENTS);
      await until('the log', () => said(starved, 'there are descriptors and memory again') > 0);
      expect(said(starved, 'out of descriptors or memory')).toBe(1);
      expect(said(starved, 'there are descriptors and memory again')).toBe(1);
      if (side === 'host') expect((await pair.stats(spec)).accept_pauses).toBeGreaterThan(0);
    }
    if (engine === 'linux') expect(await roundTrip(port, 'after')).toBe('after');
    else
      await until('a client to be served again', () => roundTrip(port, 'after').catch(() => false as const));
    await pair.quiet(spec);
  });
});
