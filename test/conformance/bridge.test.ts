/**
 * A stream through the bridge is what the stream itself would be. AF_VSOCK itself is for test/vm; here the bridge gets
 * descriptors of unix sockets, on which an end, an abort and a full stream look the same.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BridgeError } from '../../shared/errors.ts';
import { silentLogger } from '../../shared/logger.ts';
import { adoptSocket } from '../../shared/platform/linux/adopt-socket.ts';
import { Arena } from '../../shared/platform/linux/arena.ts';
import { LinuxBridge } from '../../shared/platform/linux/bridge/linux-bridge.ts';
import { type Libc, loadLibc } from '../../shared/platform/linux/libc.ts';
import { Sockets } from '../../shared/platform/linux/sockets.ts';
import { HOST_ONLY } from '../../shared/transport/peer-cids.ts';
import { engines } from '../helpers/engines.ts';
import { until } from '../helpers/processes.ts';
import { fateOf, readAll } from '../helpers/stream-client.ts';
import { digestOf, receiveBytes, sendBytes } from '../helpers/test-bytes.ts';

/** Streams arrive paused. */
function reading<T>(read: (socket: Socket) => Promise<T>, socket: Socket): Promise<T> {
  const result = read(socket);
  socket.resume();
  return result;
}

const never = new AbortController().signal;
const errorOf = (errno: number) => new BridgeError('IO', `errno ${errno}`, { errno });

describe.skipIf(!engines.includes('linux'))('the bridge', () => {
  const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  let libc: Libc;
  let sockets: Sockets;
  let bridge: LinuxBridge;
  let path: string;
  let paths = 0;
  const servers: Server[] = [];

  beforeAll(async () => {
    libc = await loadLibc();
    sockets = new Sockets(libc, new Arena(libc, 4096));
  });
  beforeEach(() => {
    bridge = new LinuxBridge(libc, silentLogger());
    path = join(dir, `${paths++}.sock`);
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) server.close();
    await bridge.close();
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  /** A unix socket whose streams come through the bridge. */
  function serve(onStream: (stream: Socket) => void): { close(): Promise<void> } {
    return bridge.serve(sockets.openListener({ family: 'unix', path }, path), HOST_ONLY, onStream);
  }

  async function serveWithNode(onStream: (stream: Socket) => void): Promise<void> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, onStream);
    servers.push(server);
    server.listen(path);
    await once(server, 'listening');
  }

  const dialBridged = () => bridge.dialSockaddr({ family: 'unix', path }, path, never, errorOf);

  async function dialWithNode(): Promise<Socket> {
    const socket = connect({ path, allowHalfOpen: true });
    await once(socket, 'connect');
    socket.on('error', () => {});
    return socket;
  }

  describe.each([
    ['dialled', true, false],
    ['accepted', false, true],
    ['dialled and accepted', true, true],
  ])('a stream that it has %s', (_name, dials, accepts) => {
    async function pair(): Promise<{ near: Socket; far: Socket }> {
      let accepted!: (stream: Socket) => void;
      const arrival = new Promise<Socket>((resolve) => {
        accepted = resolve;
      });
      if (accepts) serve(accepted);
      else await serveWithNode(accepted);
      const near = await (dials ? dialBridged() : dialWithNode());
      const far = await arrival;
      far.on('error', () => {});
      return { near, far };
    }

    it('keeps a half-close, either way first', async () => {
      const { near, far } = await pair();
      near.end('question');
      expect((await reading(readAll, far)).toString()).toBe('question');
      far.end('answer');
      expect((await reading(readAll, near)).toString()).toBe('answer');
      await until('both to be closed', () => near.closed && far.closed);
    });

    it.each(['near', 'far'] as const)(
      'shows an abort of the %s end as one, behind its bytes',
      async (who) => {
        const both = await pair();
        const [aborting, other] = who === 'near' ? [both.near, both.far] : [both.far, both.near];
        aborting.write('last words', () => aborting.destroy());
        const { how, bytes } = await reading(fateOf, other);
        expect(['EPIPE', 'ECONNRESET']).toContain(how);
        expect(bytes).toBe(10);
      },
    );

    it.each(['near', 'far'] as const)('shows that the %s end is gone after it had ended', async (who) => {
      const both = await pair();
      const [going, other] = who === 'near' ? [both.near, both.far] : [both.far, both.near];
      going.end('done');
      other.resume();
      await once(other, 'end');
      going.destroy();
      await until('a write to fail', () => {
        if (other.writable) other.write('x');
        return other.destroyed;
      });
    });

    it('loses nothing of 30 MB both ways at once', async () => {
      const { near, far } = await pair();
      const size = 30_000_000;
      sendBytes(near, 1, size);
      sendBytes(far, 2, size);
      const [up, down] = await Promise.all([reading(receiveBytes, far), reading(receiveBytes, near)]);
      expect(up).toEqual({ digest: digestOf(1, size), bytes: size });
      expect(down).toEqual({ digest: digestOf(2, size), bytes: size });
    });

    it('makes a writer wait for a reader that does not read', async () => {
      const { near, far } = await pair();
      const chunk = Buffer.alloc(64 * 1024);
      let sent = 0;
      const most = 64 * 1024 * 1024;
      while (sent < most) {
        sent += chunk.length;
        if (near.write(chunk)) continue;
        const drained = await Promise.race([once(near, 'drain').then(() => true), delay(200)]);
        if (drained !== true) break;
      }
      expect(sent).toBeLessThan(most / 4);
      near.end();
      expect((await reading(receiveBytes, far)).bytes).toBe(sent);
    });
  });

  it('takes over a connected descriptor', async () => {
    const [mine, other] = sockets.pair()!;
    const near = bridge.adopt(mine);
    const far = bridge.adopt(other);
    near.end('hello');
    expect((await reading(readAll, far)).toString()).toBe('hello');
    far.end();
  });

  it('sends what was written before its socket was closed, though it is closed itself', async () => {
    const got: Array<Promise<{ how: string; bytes: number }>> = [];
    await serveWithNode((stream) => got.push(reading(fateOf, stream)));
    const near = await dialBridged();
    await until('the other end', () => got.length === 1);
    near.write(Buffer.alloc(100_000), () => near.destroy());
    await once(near, 'close');
    await bridge.close();
    expect((await got[0]!).bytes).toBe(100_000);
  });

  it('sends a device what was written before its socket was closed, though it is closed itself', async () => {
    const [device, other] = sockets.pair()!;
    const port = bridge.device(device);
    const received = reading(fateOf, adoptSocket(other));
    port.end(Buffer.alloc(600_000)); // more than the pair and the device hold
    const closed = bridge.close();
    expect((await received).bytes).toBe(600_000);
    await closed;
  });

  it('says why a dial failed, and gives up one that is cancelled', async () => {
    await expect(dialBridged()).rejects.toMatchObject({ message: 'errno 2' });
    const cancel = new AbortController();
    const dial = bridge.dialSockaddr({ family: 'unix', path }, path, cancel.signal, errorOf);
    cancel.abort();
    await expect(dial).rejects.toMatchObject({ code: 'CANCELLED', message: expect.stringContaining(path) });
  });

  it('waits for room in a full backlog', async () => {
    const full = sockets.openListener({ family: 'unix', path }, path);
    libc.listen(full, 0);
    const first = await dialBridged();
    let second: Socket | undefined;
    const dialling = dialBridged().then((socket) => {
      second = socket;
    });
    await delay(100);
    expect(second).toBeUndefined();
    const accepted = sockets.accept(full);
    await dialling;
    first.destroy();
    second!.destroy();
    for (const fd of [accepted, full]) libc.close(fd);
  });

  it('accepts nobody any more once its listener is closed', async () => {
    const streams: Socket[] = [];
    const listener = serve((stream) => streams.push(stream));
    const before = await dialWithNode();
    await until('the first stream', () => streams.length === 1);
    await listener.close();
    await expect(dialWithNode()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    before.end();
    expect((await reading(fateOf, streams[0]!)).how).toBe('end');
    streams[0]!.end();
  });

  it('breaks its streams when its thread dies, and goes on with another', async () => {
    const streams: Socket[] = [];
    serve((stream) => streams.push(stream));
    const near = await dialWithNode();
    await until('the first stream', () => streams.length === 1);
    const fate = reading(fateOf, streams[0]!);
    await bridge.threads[0]!.terminate();
    expect((await fate).how).not.toBe('end');
    near.destroy();
    await until('another thread', () => bridge.threads.length === 1);
    const again = await dialWithNode();
    await until('the next stream', () => streams.length === 2);
    again.end('back');
    expect((await reading(readAll, streams[1]!)).toString()).toBe('back');
    streams[1]!.end();
  });
});
