/** What a client and a container may expect of a forward, on every lane over every transport, by every engine. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '../../shared/logger.ts';
import { engines, whyNotLinux } from '../helpers/engines.ts';
import { type Joined, joinPair } from '../helpers/joined.ts';
import { lastingPort } from '../helpers/lasting-port.ts';

const cases = [
  ['dedicated', 'unix', 'portable', 'host'],
  ['multiplexed', 'unix', 'portable', 'host'],
  ['dedicated', 'tcp', 'portable', 'host'],
  ['multiplexed', 'tcp', 'portable', 'host'],
  ['dedicated', 'unix', 'linux', 'host'],
  ['multiplexed', 'unix', 'linux', 'host'],
  ['dedicated', 'tcp', 'linux', 'host'],
  ['multiplexed', 'tcp', 'linux', 'host'],
  ['dedicated', 'unix', 'portable', 'shim'],
  ['dedicated', 'tcp', 'portable', 'shim'],
  ['dedicated', 'unix', 'linux', 'shim'],
  ['dedicated', 'tcp', 'linux', 'shim'],
] as const;

describe.each(cases)('%s lane over %s, %s engine, the %s dials', (lane, transport, engine, dials) => {
  if (!engines.includes(engine)) return it.skip(`the ${engine} engine does not run here: ${whyNotLinux}`);
  let pair: Joined;
  const servers: Server[] = [];
  const sockets = new Set<Socket>();

  beforeAll(async () => {
    pair = await joinPair(lane, transport, engine, 1, silentLogger(), dials);
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
    await pair.close();
  });

  /** A container that does `serve`, published; answers a connected client of it. */
  async function client(serve: (socket: Socket) => void): Promise<Socket> {
    const port = await publish(serve);
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    sockets.add(socket);
    await once(socket, 'connect');
    return socket;
  }

  async function publish(serve: (socket: Socket) => void): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => {}); // a test that expects one listens itself
      serve(socket);
    });
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    return pair.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${port}`);
  }

  /** Everything until the end of stream, or the code of the error that came instead. */
  function readAll(socket: Socket): Promise<string> {
    const chunks: Buffer[] = [];
    return new Promise((resolve) => {
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.on('end', () => resolve(Buffer.concat(chunks).toString()));
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  }

  it('carries bytes both ways and ends cleanly', async () => {
    const socket = await client((peer) => void peer.pipe(peer));
    socket.end('hello');
    expect(await readAll(socket)).toBe('hello');
  });

  it('keeps the half-close of the client: the answer comes after it', async () => {
    const socket = await client(async (peer) => {
      const got = await readAll(peer);
      peer.end(`you said ${got}`);
    });
    socket.end('all of it');
    expect(await readAll(socket)).toBe('you said all of it');
  });

  it('keeps the half-close of the container: the client goes on sending after it', async () => {
    let heard: (text: string) => void;
    const got = new Promise<string>((resolve) => {
      heard = resolve;
    });
    const socket = await client(async (peer) => {
      peer.end('bye');
      heard(await readAll(peer));
    });
    expect(await readAll(socket)).toBe('bye');
    socket.end('still here');
    expect(await got).toBe('still here');
  });

  it('carries a client that ends without a byte', async () => {
    const socket = await client(async (peer) => {
      expect(await readAll(peer)).toBe('');
      peer.end('nothing came');
    });
    socket.end();
    expect(await readAll(socket)).toBe('nothing came');
  });

  it('resets the client when the container resets', async () => {
    const socket = await client((peer) => peer.once('data', () => peer.resetAndDestroy()));
    socket.write('x');
    expect(await readAll(socket)).toBe('ECONNRESET');
  });

  it('resets the container when the client resets', async () => {
    let failed: (code: string) => void;
    const code = new Promise<string>((resolve) => {
      failed = resolve;
    });
    const socket = await client((peer) => {
      peer.write('ready');
      void readAll(peer).then(failed);
    });
    await once(socket, 'data');
    socket.resetAndDestroy();
    expect(await code).toBe('ECONNRESET');
  });

  it('resets the client when nothing listens in the VM', async () => {
    const port = await pair.expose(`tcp:127.0.0.1:0:tcp:127.0.0.1:${await lastingPort()}`);
    const socket = connect(port, '127.0.0.1');
    sockets.add(socket);
    expect(await readAll(socket)).toBe('ECONNRESET');
  });

  it('loses and doubles nothing of 20 MB both ways at once', async () => {
    const size = 20_000_000;
    const socket = await client((peer) => void peer.pipe(peer));
    let next = 0;
    let wrong = 0;
    let seen = 0;
    socket.on('data', (chunk: Buffer) => {
      for (let i = 0; i < chunk.length; i += 997) if (chunk[i] !== (seen + i) % 251) wrong++;
      seen += chunk.length;
    });
    while (next < size) {
      const chunk = Buffer.allocUnsafe(50_000);
      for (let i = 0; i < chunk.length; i++) chunk[i] = (next + i) % 251;
      next += chunk.length;
      if (!socket.write(chunk)) await once(socket, 'drain');
    }
    socket.end();
    await once(socket, 'end');
    expect({ seen, wrong }).toEqual({ seen: size, wrong: 0 });
  });

  it('carries datagrams whole, each to its own client', async () => {
    const echo = createSocket('udp4');
    echo.on('message', (payload, peer) => echo.send(payload, peer.port, peer.address));
    echo.bind(0, '127.0.0.1');
    await once(echo, 'listening');
    const port = await pair.expose(`udp:127.0.0.1:0:udp:127.0.0.1:${echo.address().port}`);
    const clients = [1, 2, 3].map(() => createSocket('udp4'));
    try {
      for (const [index, size] of [0, 1, 1_400, 9_000, 65_507].entries()) {
        for (const [number, each] of clients.entries()) {
          const payload = Buffer.alloc(size, number * 10 + index);
          const answer = once(each, 'message') as Promise<[Buffer]>;
          each.send(payload, port, '127.0.0.1');
          const [got] = await answer;
          expect(got.equals(payload)).toBe(true);
        }
      }
    } finally {
      for (const each of [...clients, echo]) each.close();
    }
  });
});
