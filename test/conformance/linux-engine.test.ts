/** What only an engine of threads can get wrong. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { MessagePort } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../shared/logger.ts';
import { engines } from '../helpers/engines.ts';
import { type Joined, joinPair } from '../helpers/joined.ts';
import { until } from '../helpers/processes.ts';
import { fateOf, readExactly } from '../helpers/stream-client.ts';

const { postMessage: real } = MessagePort.prototype;

describe.skipIf(!engines.includes('linux'))('the Linux engine', () => {
  let pair: Joined | undefined;
  let echo: Server | undefined;
  const sockets = new Set<Socket>();

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    echo?.close();
    await pair?.close();
  });

  async function start(
    workers: number,
    lane: 'dedicated' | 'multiplexed' = 'dedicated',
    dials: 'host' | 'shim' = 'host',
  ): Promise<{ pair: Joined; port: number }> {
    pair = await joinPair(lane, 'unix', 'linux', workers, silentLogger(), dials);
    echo = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const { port } = echo.address() as { port: number };
    const published = await pair.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${port}`);
    (await client(published)).destroy(); // those who come before the link is up are the main thread's
    return { pair, port: published };
  }

  /** A connection whose relay has worked once. */
  async function client(port: number): Promise<Socket> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.add(socket);
    socket.on('error', () => {});
    socket.write('hello');
    expect((await readExactly(socket, 5)).toString()).toBe('hello');
    return socket;
  }

  it.each(['dedicated', 'multiplexed'] as const)('sleeps while nothing happens, %s lane', async (lane) => {
    const { pair, port } = await start(1, lane);
    await client(port);
    await delay(200);
    const threads = [pair.threads.host!, pair.threads.shim!];
    const before = threads.map(({ wakeUps }) => wakeUps[0]!);
    await delay(2_000);
    for (const [index, { wakeUps }] of threads.entries())
      expect(wakeUps[0]! - before[index]!).toBeLessThan(10);
  });

  it('has every client of a multiplexed link carried by the one worker that has it', async () => {
    const { pair, port } = await start(3, 'multiplexed');
    const before = [...pair.threads.host!.wakeUps];
    const busy = () => pair.threads.host!.wakeUps.filter((wakeUps, index) => wakeUps - before[index]! > 10);
    // How many clients a wake-up serves is not ours to say.
    await until('a worker to have been busy', async () => {
      const clients = await Promise.all(Array.from({ length: 20 }, () => client(port)));
      for (const each of clients) each.end();
      await Promise.all(clients.map((each) => fateOf(each)));
      return busy().length > 0;
    });
    expect(busy()).toHaveLength(1);
  });

  it('refuses clients of a forward that ends before its workers hear of it', async () => {
    const { pair: ending, port } = await start(2);
    const connect = `require('node:net').connect(${port}, '127.0.0.1').on('connect', process.exit)`;
    const seen: string[] = [];
    const post = vi.spyOn(MessagePort.prototype, 'postMessage').mockImplementation(function (
      this: MessagePort,
      ...args
    ) {
      if (inspect(args[0], { depth: 9 }).includes("'close-forward'"))
        seen.push(spawnSync(process.execPath, ['-e', connect], { encoding: 'utf8' }).stderr);
      return real.apply(this, args as never);
    });
    try {
      pair = undefined;
      await ending.close();
    } finally {
      post.mockRestore();
    }
    expect(seen).toHaveLength(2);
    for (const said of seen) expect(said).toContain('ECONNREFUSED');
  });

  it('tells workers of forwards without memory that is not theirs', async () => {
    const carried: number[] = [];
    const look = (value: unknown): void => {
      if (value instanceof Uint8Array) carried.push(value.buffer.byteLength - value.byteLength);
      else if (typeof value === 'object' && value !== null)
        for (const each of Object.values(value)) look(each);
    };
    const post = vi.spyOn(MessagePort.prototype, 'postMessage').mockImplementation(function (
      this: MessagePort,
      ...args
    ) {
      look(args[0]);
      return real.apply(this, args as never);
    });
    try {
      await start(1);
    } finally {
      post.mockRestore();
    }
    expect(carried.length).toBeGreaterThan(0);
    expect(carried.every((more) => more === 0)).toBe(true);
  });

  it.each(['host', 'shim'] as const)(
    'spreads connections over all of its workers, the %s dials',
    async (dials) => {
      const { pair, port } = await start(3, 'dedicated', dials);
      const idle = { host: [...pair.threads.host!.wakeUps], shim: [...pair.threads.shim!.wakeUps] };
      const busy = (side: 'host' | 'shim') =>
        pair.threads[side]!.wakeUps.every((wakeUps, index) => wakeUps - idle[side][index]! > 50);
      await until('all workers to have been busy', async () => {
        await Promise.all(Array.from({ length: 20 }, async () => (await client(port)).end()));
        return busy('host') && busy('shim');
      });
    },
  );

  it.each([
    ['host', 'dedicated', 'host'],
    ['shim', 'dedicated', 'host'],
    ['host', 'multiplexed', 'host'],
    ['shim', 'multiplexed', 'host'],
    ['host', 'dedicated', 'shim'],
    ['shim', 'dedicated', 'shim'],
  ] as const)(
    'replaces a worker of the %s that dies, and resets its clients, %s lane, the %s dials',
    async (side, lane, dials) => {
      const { pair, port } = await start(1, lane, dials);
      const fate = fateOf(await client(port));
      const [worker] = pair.threads[side]!.threads;
      await worker!.terminate();
      expect((await fate).how).toBe('ECONNRESET');
      await until('another worker', () => pair.threads[side]!.threads[0] !== undefined);
      const after = await client(port);
      after.end();
      expect((await fateOf(after)).how).toBe('end');
    },
  );
});
