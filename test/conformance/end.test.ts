/** What a Connection may expect of an End, on every kind of end. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../shared/errors.ts';
import { dedicatedEnd } from '../../shared/link/dedicated-end.ts';
import { PeerStreams } from '../../shared/link/peer-streams.ts';
import { ChannelEnd } from '../../shared/relay/channel-end.ts';
import type { End } from '../../shared/relay/end.ts';
import { PLAIN_SOCKET, StreamEnd } from '../../shared/relay/stream-end.ts';
import { MuxPair } from '../helpers/mux-pair.ts';
import { until } from '../helpers/processes.ts';

/** Two ends that are each other's peer. */
interface EndPair {
  readonly a: End;
  readonly b: End;
  /** Lets what is under way arrive, where that is not the event loop's doing. */
  carry(): void;
}

async function sockets(where: 'tcp' | 'unix'): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  if (where === 'tcp') server.listen(0, '127.0.0.1');
  else server.listen(`${tmpdir()}/portferry-end-${process.pid}-${Math.random()}`);
  await once(server, 'listening');
  const address = server.address() as string | { port: number };
  const client = connect(
    typeof address === 'string'
      ? { path: address, allowHalfOpen: true }
      : { port: address.port, host: '127.0.0.1', allowHalfOpen: true },
  );
  const [accepted] = (await once(server, 'connection')) as [Socket];
  if (client.connecting) await once(client, 'connect');
  server.close();
  return [client, accepted];
}

const kinds: Record<string, () => Promise<EndPair>> = {
  'TCP socket': async () => {
    const [a, b] = await sockets('tcp');
    return { a: new StreamEnd(a, PLAIN_SOCKET), b: new StreamEnd(b, PLAIN_SOCKET), carry() {} };
  },
  'dedicated stream': async () => {
    const [a, b] = await sockets('unix');
    const [ours, theirs] = [new PeerStreams(), new PeerStreams()];
    ours.linkUp({ sendStreamReset: (id, errno) => theirs.remoteReset(id, errno) });
    theirs.linkUp({ sendStreamReset: (id, errno) => ours.remoteReset(id, errno) });
    return {
      a: dedicatedEnd({ socket: a, streamId: 1, streams: ours, answers: false }),
      b: dedicatedEnd({ socket: b, streamId: 1, streams: theirs, answers: true }),
      carry() {},
    };
  },
  'mux channel': async () => {
    const pair = new MuxPair();
    const ends = [new ChannelEnd(), new ChannelEnd()] as const;
    const probe = pair.open();
    pair.run();
    const channels = [probe.channel, pair.accepted[0]!.channel!];
    for (const [index, end] of ends.entries()) {
      const channel = channels[index]!;
      end.bind(channel);
      channel.handler = end.events();
    }
    return { a: ends[0], b: ends[1], carry: () => pair.run() };
  },
};

/** Attaches a recorder. */
function watch(end: End): { events: string[]; bytes: () => number } {
  const events: string[] = [];
  let bytes = 0;
  end.attach({
    data: (chunk) => {
      bytes += chunk.length;
    },
    ended: () => events.push('ended'),
    reset: (error) => events.push(`reset ${error.code}`),
    drained: () => events.push('drained'),
    closed: () => events.push('closed'),
  });
  return { events, bytes: () => bytes };
}

describe.each(Object.entries(kinds))('%s', (_name, make) => {
  async function start() {
    const pair = await make();
    const [a, b] = [watch(pair.a), watch(pair.b)];
    const wait = (what: string, check: () => boolean) =>
      until(what, () => {
        pair.carry();
        return check();
      });
    return { pair, a, b, wait };
  }

  it('passes on nothing before it is resumed, then everything, then the end', async () => {
    const { pair, b, wait } = await start();
    pair.a.write(Buffer.from('hello'));
    pair.a.end();
    for (let i = 0; i < 20; i++) {
      pair.carry();
      await turn();
    }
    expect([b.bytes(), b.events]).toEqual([0, []]);
    pair.b.resume();
    await wait('the end', () => b.events.includes('ended'));
    expect(b.bytes()).toBe(5);
    pair.a.reset(new BridgeError('RESET', 'test is over'));
  });

  it('closes both when both have ended, and says so once, last', async () => {
    const { pair, a, b, wait } = await start();
    pair.a.resume();
    pair.b.resume();
    pair.a.end();
    await wait('the end at b', () => b.events.includes('ended'));
    pair.b.write(Buffer.from('late answer'));
    pair.b.end();
    await wait('both closed', () => [a, b].every((each) => each.events.includes('closed')));
    expect([a.events, b.events]).toEqual([
      ['ended', 'closed'],
      ['ended', 'closed'],
    ]);
    expect(a.bytes()).toBe(11);
  });

  it('a reset is a reset on the other side, never an end', async () => {
    const { pair, a, b, wait } = await start();
    pair.a.resume();
    pair.b.resume();
    pair.a.write(Buffer.from('some bytes first'));
    pair.a.reset(new BridgeError('RESET', 'test'));
    await wait('both closed', () => [a, b].every((each) => each.events.includes('closed')));
    expect(a.events).toEqual(['closed']);
    expect(b.events).toEqual(['reset RESET', 'closed']);
  });

  it('a reset in the middle of a half-closed stream is one as well', async () => {
    const { pair, b, wait } = await start();
    pair.a.resume();
    pair.b.resume();
    pair.a.end();
    await wait('the end at b', () => b.events.includes('ended'));
    pair.a.reset(new BridgeError('RESET', 'test'));
    // TCP tells the other side only when that writes to the connection.
    await wait('b closed', () => {
      pair.b.write(Buffer.from('x'));
      return b.events.includes('closed');
    });
    expect(b.events.filter((event) => event !== 'drained')).toEqual(['ended', 'reset RESET', 'closed']);
  });

  it('a reset overtakes last bytes and an end that still wait', async () => {
    const { pair, a, b, wait } = await start();
    for (let i = 0; i < 200; i++) pair.a.write(Buffer.alloc(64 * 1024));
    pair.a.end();
    pair.carry();
    await turn();
    pair.a.reset(new BridgeError('RESET', 'test'));
    pair.b.resume();
    await wait('both closed', () => [a, b].every((each) => each.events.includes('closed')));
    expect(b.events).toEqual(['reset RESET', 'closed']);
  });

  it('says when it is full and when there is room again, and loses nothing', async () => {
    const { pair, a, b, wait } = await start();
    const block = Buffer.alloc(64 * 1024);
    let written = 0;
    for (;;) {
      written += block.length;
      const room = pair.a.write(block);
      pair.carry();
      if (!room && pair.a.backlog > 0) break;
      await turn();
    }
    expect(a.events).not.toContain('ended');
    a.events.length = 0;
    pair.b.resume();
    await wait('room again', () => a.events.includes('drained'));
    await wait('all bytes', () => b.bytes() === written);
    expect(pair.a.backlog).toBe(0);
    pair.a.reset(new BridgeError('RESET', 'test is over'));
  });
});
