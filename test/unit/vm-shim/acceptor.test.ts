import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Limit } from '../../../shared/limit.ts';
import { HANDSHAKE_TEXT } from '../../../shared/link/handshake.ts';
import { PeerStreams } from '../../../shared/link/peer-streams.ts';
import type { Logger } from '../../../shared/logger.ts';
import { decodeResult, encodePreface, encodeResult } from '../../../shared/preface.ts';
import { Acceptor } from '../../../vm-shim/data/acceptor.ts';

const KEY = Buffer.alloc(16, 7);
const open: Array<Server | Socket> = [];
afterEach(() => {
  for (const each of open.splice(0)) 'destroy' in each ? each.destroy() : each.close();
});

async function setUp(places = 10) {
  const warnings: string[] = [];
  const log = {
    warn: (_f: object, line: string) => warnings.push(line),
    debug() {},
    info() {},
  } as unknown as Logger;
  const links: Socket[] = [];
  const streams = new PeerStreams();
  streams.linkUp({ sendStreamReset() {} });
  const acceptor = new Acceptor({
    ownerOf: (key) => (key.equals(KEY) ? { streams, udpFlows: true } : undefined),
    onLink: (stream) => links.push(stream),
    context: {
      limit: new Limit('test', places),
      log,
      counters: { bytesUp: 0, bytesDown: 0 },
      running: new Set(),
    },
    log,
  });
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    acceptor.accept(socket),
  );
  server.listen(0, '127.0.0.1');
  open.push(server);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const dial = async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    open.push(socket);
    await once(socket, 'connect');
    return socket;
  };
  return { acceptor, warnings, links, dial };
}

/** A container that greets, and its port. */
async function container(): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write('hello');
  }).listen(0, '127.0.0.1');
  open.push(server);
  await once(server, 'listening');
  return (server.address() as { port: number }).port;
}

const prefaceTo = (port: number, streamKey = KEY) =>
  encodePreface({ streamId: 1, streamKey, destination: { protocol: 'tcp', ip: '127.0.0.1', port } });

/** Reads until there are `bytes` of them, or the stream has ended. */
async function read(socket: Socket, bytes: number): Promise<Buffer> {
  let got = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    got = Buffer.concat([got, chunk as Buffer]);
    if (got.length >= bytes) break;
  }
  return got;
}

describe('Acceptor', () => {
  it('hands a link over with all of its bytes', async () => {
    const { dial, links } = await setUp();
    const socket = await dial();
    for (const byte of HANDSHAKE_TEXT.subarray(0, 5)) socket.write(Buffer.from([byte]));
    while (links.length === 0) await new Promise((resolve) => setImmediate(resolve));
    links[0]!.resume();
    expect((await read(links[0]!, 5)).toString()).toBe('https');
  });

  it('carries a dedicated stream to its container, however its preface is cut', async () => {
    const { dial } = await setUp();
    const socket = await dial();
    for (const byte of prefaceTo(await container())) socket.write(Buffer.from([byte]));
    expect((await read(socket, 13)).equals(Buffer.concat([encodeResult(0), Buffer.from('hello')]))).toBe(
      true,
    );
  });

  it('answers with the errno of a container that refuses', async () => {
    const { dial } = await setUp();
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as { port: number };
    closed.close();
    await once(closed, 'close');
    const socket = await dial();
    socket.write(prefaceTo(port));
    expect(decodeResult(await read(socket, 8))?.value).toBe(111);
  });

  it('refuses a stream with the key of no link, and says so', async () => {
    const { dial, warnings } = await setUp();
    const socket = await dial();
    socket.write(prefaceTo(1, Buffer.alloc(16)));
    expect(decodeResult(await read(socket, 8))?.value).toBe(13);
    expect(warnings.join()).toMatch(/key of no link/);
  });

  it('refuses past its limit, with an errno', async () => {
    const { dial } = await setUp(0);
    const socket = await dial();
    socket.write(prefaceTo(1));
    expect(decodeResult(await read(socket, 8))?.value).toBe(105);
  });

  it('closes what is neither, and names its first bytes', async () => {
    const { dial, warnings } = await setUp();
    const socket = await dial();
    socket.write('GET / HTTP/1.1\r\n');
    socket.resume();
    await once(socket, 'close');
    expect(warnings.join()).toMatch(/begins with 0x4745/);
  });

  it('closing it ends streams that have said nothing, and takes no more', async () => {
    const { dial, acceptor, warnings } = await setUp();
    const silent = await dial();
    silent.resume();
    await new Promise((resolve) => setTimeout(resolve, 20));
    acceptor.close();
    await once(silent, 'close');
    const late = await dial();
    late.resume();
    await once(late, 'close');
    expect(warnings).toEqual([]);
  });
});
