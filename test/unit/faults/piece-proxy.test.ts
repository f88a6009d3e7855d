import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Exchange, startExchange } from '../../helpers/exchange.ts';
import { halfCloseEcho } from '../../helpers/half-close-echo.ts';
import { PieceProxy, type Watch } from '../../helpers/piece-proxy.ts';
import { until } from '../../helpers/processes.ts';
import { connectTo, fateOf, readAll } from '../../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../../helpers/stream-server.ts';
import { ChunkCutter } from '../../helpers/wire-pieces.ts';

let dir: string;
let proxy: PieceProxy | undefined;
let server: StreamServer | undefined;
let exchange: Exchange | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portferry-'));
});
afterEach(async () => {
  await Promise.all([proxy?.close(), server?.close(), exchange?.close()]);
  rmSync(dir, { recursive: true, force: true });
});

async function between(watch: Watch, onClient?: Parameters<typeof serveStreams>[0]): Promise<string> {
  const target = join(dir, 'target');
  server = onClient === undefined ? await halfCloseEcho(target) : await serveStreams(onClient, target);
  const listen = join(dir, 'listen');
  proxy = await PieceProxy.start({ listen, target, cutter: () => new ChunkCutter(), watch });
  return listen;
}

it('passes bytes and half-closes on', async () => {
  const socket = await connectTo(await between(() => undefined));
  socket.end(Buffer.alloc(300_000, 5));
  expect(await readAll(socket)).toEqual(Buffer.alloc(300_000, 5));
});

it('passes an abort on as one, from either side', async () => {
  const fates: Array<ReturnType<typeof fateOf>> = [];
  const listen = await between(
    () => undefined,
    (socket) => {
      fates.push(fateOf(socket));
    },
  );
  const client = await connectTo(listen);
  await until('the other side', () => fates.length === 1);
  client.destroy();
  expect((await fates[0]!).how).not.toBe('end');
  const other = await connectTo(listen);
  const fate = fateOf(other);
  await until('the other side', () => fates.length === 2);
  for (const socket of server!.sockets) socket.destroy();
  expect((await fate).how).not.toBe('end');
});

it.each([
  ['before', 0],
  ['half', 5],
  ['after', 10],
] as const)('stops %s a piece, and goes on when it may', async (part, passed) => {
  let go = (): void => {};
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  let first = true;
  const watch: Watch = ({ direction, kind }) => {
    if (direction !== 'up' || kind !== 'data' || !first) return undefined;
    first = false;
    return { part, act: () => held };
  };
  let got = 0;
  const listen = await between(watch, (socket) => {
    socket.on('data', (chunk: Buffer) => {
      got += chunk.length;
    });
  });
  const client = await connectTo(listen);
  client.write(Buffer.alloc(10));
  await until('the first part', () => got === passed);
  await delay(20);
  expect(got).toBe(passed);
  go();
  await until('the rest', () => got === 10);
  client.destroy();
});

it('cuts streams, and a transfer that is cut is known to be at both ends', async () => {
  exchange = await startExchange();
  await exchange.whole(exchange.port, 50_000, 70_000);
  const transfer = exchange.begin(exchange.port, 3_000, 1_000_000_000);
  await until('it to run', () => transfer.received > 1_000_000);
  await exchange.close();
  await transfer.over;
  await until('both ends', () => transfer.server !== undefined);
  expect([transfer.client, transfer.server]).toEqual(['reset', 'reset']);
});
