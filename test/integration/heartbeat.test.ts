/** The heart-beat, through the command line: processes that are stopped, and links that are busy. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { listForwards } from '../helpers/api.ts';
import { type EngineName, lanesAndEngines } from '../helpers/engines.ts';
import { type LaneChoice, loopback, ONE_WORKER, Pair, type Running, until } from '../helpers/processes.ts';
import { connectTo, fateOf, readExactly, roundTrip } from '../helpers/stream-client.ts';
import { serveStreams } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

/** Short for a test, and not too short for a link to live on a busy machine: a peer is dead after 1.5 s. */
const BEAT = ['--heartbeat', '0.5', ...ONE_WORKER];
const DEAD = 'the peer was silent for 1.5 s';

interface Case {
  readonly pair: Pair;
  readonly open: Array<{ close(): Promise<void> }>;
}

async function withPair(
  lane: LaneChoice,
  engine: EngineName,
  options: { shim: readonly string[]; host: readonly string[] },
  run: (pair: Pair, open: Case['open']) => Promise<void>,
): Promise<void> {
  const open: Case['open'] = [await Pair.start(lane, engine, options.shim, options.host)];
  try {
    await run(open[0] as Pair, open);
  } finally {
    await Promise.all(open.map((each) => each.close()));
  }
}

const vm = async (pair: Pair) => (await listForwards(pair.api)).vms[0]!;
const said = ({ stderr }: Running, text: string): number => stderr().split(text).length - 1;
const linkEnds = (running: Running): number => said(running, '"link is down');

describe('a peer that is stopped (SIGSTOP)', () => {
  it.concurrent.each(lanesAndEngines)(
    'is dead in time, and back when it goes on: %s lane, %s engine',
    async (lane, engine) =>
      withPair(lane, engine, { shim: BEAT, host: BEAT }, async (pair, open) => {
        const echo = await tcpEcho();
        open.push(echo);
        const { spec, port } = await pair.claim(loopback('tcp', echo.port), pair.portFsUrl);
        const client = await connectTo(port);
        client.write('one');
        await readExactly(client, 3);
        await until('a measured round trip', async () => (await vm(pair)).rttMs !== undefined);
        const { forwards } = await listForwards(pair.api);
        const fate = lane === 'multiplexed' ? fateOf(client) : undefined;

        const deadBefore = said(pair.host, DEAD);
        pair.shim.child.kill('SIGSTOP');
        await until('the host to give the link up', () => said(pair.host, DEAD) > deadBefore);
        await until('the link to be down', async () => !(await vm(pair)).up);
        // The port is kept for it.
        expect((await listForwards(pair.api)).forwards.map((each) => each.spec)).toEqual([spec]);
        pair.shim.child.kill('SIGCONT');
        await pair.linked();
        // The same claim, and on streams of their own the same connections.
        expect((await listForwards(pair.api)).forwards).toMatchObject([{ spec, since: forwards[0]!.since }]);
        if (fate !== undefined) expect((await fate).how).toBe('ECONNRESET');
        else {
          client.write('two');
          expect((await readExactly(client, 3)).toString()).toBe('two');
        }
        client.destroy();
        await until('the forward to work', () => roundTrip(port, 'again').catch(() => false as const));

        const silentBefore = said(pair.shim, DEAD);
        const endsBefore = linkEnds(pair.host);
        pair.host.child.kill('SIGSTOP');
        await until('the shim to give the link up', () => said(pair.shim, DEAD) > silentBefore);
        pair.host.child.kill('SIGCONT');
        await until('the host to see the end of the link', () => linkEnds(pair.host) > endsBefore);
        await pair.linked();
        await until('the forward to work', () => roundTrip(port, 'again').catch(() => false as const));
      }),
  );
});

describe('a host agent that was stopped itself', () => {
  it.concurrent.each(lanesAndEngines.filter(([lane]) => lane === 'multiplexed'))(
    'does not take what it has slept through for silence: %s lane, %s engine',
    async (lane, engine) =>
      withPair(lane, engine, { shim: ['--heartbeat', '60', ...ONE_WORKER], host: BEAT }, async (pair) => {
        await until('a measured round trip', async () => (await vm(pair)).rttMs !== undefined);
        pair.host.child.kill('SIGSTOP');
        await delay(3_000); // more than three intervals, and a jump
        pair.host.child.kill('SIGCONT');
        // Longer than a silent peer would be given now.
        await delay(2_000);
        expect((await vm(pair)).up).toBe(true);
        expect(linkEnds(pair.host)).toBe(0);
      }),
  );
});

describe('a link whose windows are full', () => {
  it.concurrent.each(lanesAndEngines.filter(([lane]) => lane === 'multiplexed'))(
    'lives: %s lane, %s engine',
    async (lane, engine) =>
      withPair(lane, engine, { shim: BEAT, host: BEAT }, async (pair, open) => {
        const block = Buffer.alloc(256 * 1024);
        const source = await serveStreams((socket) => {
          const more = (): void => {
            while (!socket.destroyed && socket.write(block));
          };
          socket.on('drain', more);
          socket.on('error', () => {});
          more();
        });
        open.push(source);
        const { port } = await pair.expose(loopback('tcp', source.port));
        // Some never read, so that their windows fill; one reads all the time, so that the link is never idle.
        const clients = await Promise.all(Array.from({ length: 9 }, () => connectTo(port)));
        let read = 0;
        clients[0]!.on('data', (chunk: Buffer) => {
          read += chunk.length;
        });
        await until('the transfer to run', () => read > 10_000_000);
        const seen = new Set<number | undefined>();
        await until('some round trips', async () => seen.add((await vm(pair)).rttMs).size > 4);
        expect(linkEnds(pair.host) + linkEnds(pair.shim)).toBe(0);
        for (const client of clients) client.destroy();
      }),
  );
});
