/** What is particular to the multiplexed lane, wherever its session lives. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { establishLink } from '../../shared/link/establish.ts';
import { LinkIdentity } from '../../shared/link/identity.ts';
import { silentLogger } from '../../shared/logger.ts';
import type { Channel } from '../../shared/mux/channel.ts';
import { encodeDataHeader } from '../../shared/mux/frame.ts';
import { engines } from '../helpers/engines.ts';
import { type HostAlone, startHostAlone } from '../helpers/host-alone.ts';
import { type Joined, joinPair } from '../helpers/joined.ts';
import { fateOf, readAll, readExactly } from '../helpers/stream-client.ts';

describe.each(engines)('the multiplexed lane, %s engine', (engine) => {
  let pair: Joined | undefined;
  let alone: HostAlone | undefined;
  const servers: Server[] = [];
  const sockets = new Set<Socket>();

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    for (const server of servers.splice(0)) server.close();
    await pair?.close();
    await alone?.close();
    pair = undefined;
    alone = undefined;
  });

  async function container(serve: (socket: Socket) => void): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      serve(socket);
    });
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as { port: number }).port;
  }

  function client(port: number): Socket {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.add(socket);
    socket.on('error', () => {});
    return socket;
  }

  /** Writes for ever, as fast as it is read. */
  function flood(socket: Socket): void {
    const chunk = Buffer.alloc(64 * 1024);
    const more = (): void => {
      while (!socket.destroyed && socket.write(chunk));
    };
    socket.on('drain', more);
    more();
  }

  it('serves 50 round trips beside connections that saturate the link both ways', async () => {
    pair = await joinPair('multiplexed', 'unix', engine);
    let carried = 0;
    const sink = await container((socket) => {
      flood(socket);
      socket.on('data', (chunk: Buffer) => {
        carried += chunk.length;
      });
    });
    const echo = await container((socket) => socket.pipe(socket));
    const bulk = client(await pair.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${sink}`));
    bulk.on('data', (chunk: Buffer) => {
      carried += chunk.length;
    });
    flood(bulk);
    const small = client(await pair.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${echo}`));
    for (let round = 0; round < 50; round++) {
      small.write(`ping${round % 10}`);
      expect((await readExactly(small, 5)).toString()).toBe(`ping${round % 10}`);
    }
    expect(carried).toBeGreaterThan(1024 * 1024);
  });

  it('a stalled connection holds no other up, and loses nothing', async () => {
    pair = await joinPair('multiplexed', 'unix', engine);
    const size = 8 * 1024 * 1024;
    const source = await container((socket) => socket.end(Buffer.alloc(size, 7)));
    const port = await pair.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${source}`);
    const stalled = client(port);
    stalled.pause();
    await once(stalled, 'connect');
    for (let i = 0; i < 3; i++) expect((await readAll(client(port))).length).toBe(size);
    stalled.resume();
    expect((await readAll(stalled)).equals(Buffer.alloc(size, 7))).toBe(true);
  });

  it('takes a shim that dials, and clients that came before it', async () => {
    alone = await startHostAlone(engine, 'multiplexed');
    const echo = await container((socket) => socket.pipe(socket));
    const early = client(await alone.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${echo}`));
    early.write('hello');
    await alone.startShim();
    expect((await readExactly(early, 5)).toString()).toBe('hello');
    early.end();
    expect((await fateOf(early)).how).toBe('end');
  });

  it('ends the link of a peer that overruns a window, and nothing else', async () => {
    alone = await startHostAlone(engine, 'multiplexed');
    const published = await alone.expose('tcp:127.0.0.1:0:tcp:10.0.0.1:80');
    const { signal } = new AbortController();
    const link = async (onChannel: (channel: Channel, stream: Socket) => void) => {
      const stream = await alone!.dial();
      sockets.add(stream);
      return establishLink(stream, {
        identity: new LinkIdentity('shim'),
        dialled: true,
        legacyPeer: false,
        log: silentLogger(),
        signal,
        onChannel: (channel) => onChannel(channel, stream),
        onStreamReset() {},
        onReverse() {},
      });
    };
    const hostile = await link((channel, stream) => {
      channel.accept();
      setImmediate(() => {
        const bytes = 2 * 1024 * 1024;
        stream.write(Buffer.concat([encodeDataHeader(channel.id, bytes), Buffer.alloc(bytes)]));
      });
    });
    expect((await fateOf(client(published))).how).toBe('ECONNRESET');
    expect((await hostile.closed).code).toBe('LINK_LOST');
    await link((channel) => {
      channel.accept();
      channel.write(Buffer.from('fine'));
    });
    expect((await readExactly(client(published), 4)).toString()).toBe('fine');
  });
});
