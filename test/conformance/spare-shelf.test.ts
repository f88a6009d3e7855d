/** What a pool of spare streams may expect of where they lie, in one thread or for all. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SparePool } from '../../host-agent/data/spare-pool.ts';
import { SocketShelf, type SpareShelf } from '../../host-agent/data/spare-shelf.ts';
import { SPARES_READY } from '../../shared/link/spare-wish.ts';
import { engines } from '../helpers/engines.ts';
import { until } from '../helpers/processes.ts';
import { readExactly } from '../helpers/stream-client.ts';

async function descriptorShelf(): Promise<SpareShelf> {
  const { DescriptorShelf } = await import('../../host-agent/data/linux/descriptor-shelf.ts');
  const { SpareCells } = await import('../../host-agent/data/linux/spare-cells.ts');
  const { loadLibc } = await import('../../shared/platform/linux/libc.ts');
  const { Arena } = await import('../../shared/platform/linux/arena.ts');
  const { Sockets } = await import('../../shared/platform/linux/sockets.ts');
  const libc = await loadLibc();
  const sockets = new Sockets(libc, new Arena(libc, 4096));
  const cells = new SpareCells(1);
  return new DescriptorShelf({ libc, sockets, cells, number: 1, tcp: true, give: () => false, over() {} });
}

describe.each(engines)('a pool of spare streams, %s engine', (engine) => {
  let server: Server;
  let shelf: SpareShelf;
  let pool: SparePool;
  const asked: number[] = [];
  const sockets: Socket[] = [];
  const never = new AbortController().signal;

  beforeEach(async () => {
    server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    shelf = engine === 'portable' ? new SocketShelf() : await descriptorShelf();
    asked.length = 0;
    pool = new SparePool({ shelf, ask: (count) => asked.push(count) });
    pool.begin();
  });
  afterEach(() => {
    pool.close();
    for (const socket of sockets.splice(0)) socket.destroy();
    server.close();
  });

  /** A spare stream in the pool. @returns the shim's end */
  async function spare(): Promise<Socket> {
    return (await bothEnds()).far;
  }

  async function bothEnds(): Promise<{ near: Socket; far: Socket }> {
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const far = connect((server.address() as { port: number }).port, '127.0.0.1');
    sockets.push(far);
    far.on('error', () => {});
    const [near] = await accepted;
    sockets.push(near);
    pool.add(near);
    return { near, far };
  }

  /** It has been dropped, or is a descriptor now. */
  const hasLeft = (near: Socket) => until('the socket to be gone', () => near.destroyed);

  const isClosed = (far: Socket): Promise<void> =>
    new Promise((resolve) => {
      if (far.closed) return resolve();
      far.resume();
      far.once('close', () => resolve());
    });

  it('asks for a few at once', () => {
    expect(asked).toEqual([SPARES_READY]);
  });

  it('gives each stream to one client, and it carries bytes both ways', async () => {
    const far = [await spare(), await spare()];
    const near = await Promise.all([pool.take(never), pool.take(never)]);
    sockets.push(...near);
    for (const [index, stream] of near.entries()) stream.write(`${index}`);
    const heard = await Promise.all(far.map(async (each) => (await readExactly(each, 1)).toString()));
    expect(heard.toSorted()).toEqual(['0', '1']);
  });

  it('lets a client wait for the next, asks for more the more wait, and for fewer again', async () => {
    const waiting = Array.from({ length: 30 }, () => pool.take(new AbortController().signal));
    expect(asked).toEqual([8, 16, 32, 64]);
    for (const client of waiting) {
      await spare();
      sockets.push(await client);
    }
    expect(asked.at(-1)).toBeLessThanOrEqual(16);
  });

  it('gives nobody a stream that has ended, or on which something was said', async () => {
    const dead = await bothEnds();
    dead.far.destroy();
    await isClosed(dead.far);
    await hasLeft(dead.near);
    const { near, far: talker } = await bothEnds();
    await new Promise((resolve) => talker.write('first', resolve));
    await hasLeft(near);
    const taken = pool.take(never);
    const far = await spare();
    const stream = await taken;
    sockets.push(stream);
    stream.write('x');
    expect((await readExactly(far, 1)).toString()).toBe('x');
    await isClosed(talker);
  });

  it('gives nobody who waits a stream on which something came with its head', async () => {
    const taken = pool.take(never);
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const talker = connect((server.address() as { port: number }).port, '127.0.0.1');
    sockets.push(talker);
    const [near] = await accepted;
    near.unshift(Buffer.from('behind the head'));
    pool.add(near);
    await isClosed(talker);
    const far = await spare();
    const stream = await taken;
    sockets.push(stream);
    stream.write('x');
    expect((await readExactly(far, 1)).toString()).toBe('x');
  });

  it('closes what there is beyond what it has asked for', async () => {
    const ends = [await bothEnds(), await bothEnds(), await bothEnds()];
    const closed = ends.map(({ far }) => isClosed(far));
    if (engine === 'linux') for (const { near } of ends) await hasLeft(near);
    shelf.tidy(2);
    await Promise.race(closed);
    sockets.push(await pool.take(never), await pool.take(never));
    const third = new AbortController();
    const none = pool.take(third.signal);
    third.abort();
    await expect(none).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('closes all when it is closed, all that come later, and tells who waits', async () => {
    const waiting = pool.take(never);
    const first = await spare();
    sockets.push(await waiting);
    const lying = isClosed(await spare());
    pool.close();
    await lying;
    await isClosed(await spare());
    await expect(pool.take(never)).rejects.toMatchObject({ code: 'LINK_LOST' });
    expect(first.destroyed).toBe(false);
  });
});
