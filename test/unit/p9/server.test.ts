import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { createLogger, silentLogger } from '../../../shared/logger.ts';
import { Channel } from '../../../shared/p9/channel.ts';
import { P9Client } from '../../../shared/p9/client.ts';
import { decode, encode } from '../../../shared/p9/codec.ts';
import type { Message } from '../../../shared/p9/messages.ts';
import { P9Server, type P9ServerOptions } from '../../../shared/p9/server.ts';
import { NO_FID, NO_NUMBER, NO_TAG } from '../../../shared/p9/types.ts';
import { duplexPair } from './duplex-pair.ts';
import { MemoryFilesystem } from './memory-filesystem.ts';
import { turns } from './raw-session.ts';

function serving(options: Partial<P9ServerOptions> = {}) {
  const filesystem = new MemoryFilesystem();
  const server = new P9Server({ log: silentLogger(), ...options });
  const dial = () => {
    const [near, far] = duplexPair();
    const served = server.serve(far, filesystem);
    return { near, far, served };
  };
  return { filesystem, server, dial };
}

const frame = (message: Message) => encode(message, '9P2000');
const VERSION = frame({ type: 'Tversion', tag: NO_TAG, msize: 8192, version: '9P2000' });
const ATTACH = frame({
  type: 'Tattach',
  tag: 1,
  fid: 0,
  afid: NO_FID,
  uname: '',
  aname: '',
  nUname: NO_NUMBER,
});

/** Collects the replies that arrive on a stream. */
function replies(stream: Duplex): Message[] {
  const channel = new Channel(1 << 20);
  const seen: Message[] = [];
  stream.on('data', (chunk) => {
    channel.push(chunk);
    for (let next = channel.next(); next !== undefined; next = channel.next()) {
      seen.push(decode(next, '9P2000') as Message);
    }
  });
  return seen;
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (Date.now() < end && !condition()) await turns();
  expect(condition()).toBe(true);
}

it('serves requests however their bytes were split', async () => {
  const { dial } = serving();
  const { near } = dial();
  const seen = replies(near);
  const stat = frame({ type: 'Tstat', tag: 2, fid: 0 });
  for (const byte of Buffer.concat([VERSION, ATTACH, stat])) near.write(Uint8Array.of(byte));
  await until(() => seen.length === 3);
  expect(seen.map(({ type }) => type)).toEqual(['Rversion', 'Rattach', 'Rstat']);
  near.destroy();
});

describe('malformed input', () => {
  it.each([
    ['a size below the header', Uint8Array.of(6, 0, 0, 0, 1, 2)],
    ['a size above msize', Uint8Array.of(0, 0, 0, 1, 1, 2)],
    ['a truncated body', Uint8Array.of(8, 0, 0, 0, 120, 1, 0, 0)],
    ['bytes after the body', Uint8Array.of(12, 0, 0, 0, 120, 1, 0, 0, 0, 0, 0, 9)],
  ])('%s closes its own connection only, and says why in the log', async (_what, bytes) => {
    const log = createLogger('test', 'silent');
    const warn = vi.spyOn(log, 'warn');
    const { server, dial } = serving({ log });
    const other = await P9Client.connect(dial().near);
    const { near, served } = dial();
    near.resume();
    near.write(VERSION);
    near.write(bytes);
    await served;
    await until(() => near.destroyed);
    expect(warn).toHaveBeenCalledOnce();
    expect(warn.mock.calls[0]?.[1]).toMatch(/9P connection closed: .*9P/);
    expect(await other.stat(other.root)).toMatchObject({ directory: true });
    expect(server.connections.used).toBe(1);
    other.close();
  });

  it('of a client that does not stop is in the log ten times a minute', async () => {
    const log = createLogger('test', 'silent');
    const warn = vi.spyOn(log, 'warn');
    const { dial } = serving({ log, maxFids: 1 });
    for (let turn = 0; turn < 15; turn++) {
      const { near, served } = dial();
      near.resume();
      // A limit of each connection, and what ends it.
      near.write(
        Buffer.concat([VERSION, ATTACH, frame({ type: 'Twalk', tag: 2, fid: 0, newfid: 1, names: [] })]),
      );
      near.write(Uint8Array.of(0, 0, 0, 0));
      await served;
    }
    expect(warn).toHaveBeenCalledTimes(10);
    expect(warn.mock.calls.slice(0, 2).map(([, text]) => text)).toEqual([
      'limit reached: fids of a 9P connection (1)',
      expect.stringMatching(/^9P connection closed/),
    ]);
  });

  it('the announced size is held against the msize that was agreed on', async () => {
    const { dial } = serving();
    const { near, served } = dial();
    near.resume();
    near.write(VERSION);
    await turns();
    near.write(frame({ type: 'Twrite', tag: 1, fid: 0, offset: 0n, data: new Uint8Array(8192) }));
    await served;
  });
});

describe('loss of the connection', () => {
  it.each(['end', 'destroy'] as const)('by %s aborts requests and clunks fids', async (how) => {
    const { filesystem, dial } = serving();
    const { near, served } = dial();
    const client = await P9Client.connect(near);
    const fid = await client.walk(['slow']);
    await client.open(fid, 'read-write');
    const reading = client.read(fid, 0, 10).catch((error) => error.code);
    await until(() => filesystem.blocked.length === 1);
    if (how === 'end') near.end();
    else near.destroy();
    await served;
    expect(filesystem.events).toEqual(['open slow r w', 'aborted read slow', 'close slow']);
    expect(await reading).toBe('LINK_LOST');
  });

  it('is noticed while the server does not read', async () => {
    const { filesystem, dial } = serving({ maxOutstanding: 1 });
    const { near, served } = dial();
    const client = await P9Client.connect(near);
    const fid = await client.walk(['slow']);
    await client.open(fid, 'read');
    for (let turn = 0; turn < 3; turn++) client.read(fid, 0, 10).catch(() => {});
    await until(() => filesystem.blocked.length === 1);
    near.destroy();
    await served;
    expect(filesystem.events).toEqual(['open slow r', 'aborted read slow', 'close slow']);
  });
});

describe('limits', () => {
  it('a connection too many is closed and counted; room is made when one goes', async () => {
    const { server, dial } = serving({ maxConnections: 2 });
    const first = dial();
    dial();
    const third = dial();
    await third.served;
    await until(() => third.near.destroyed);
    expect([server.connections.used, server.connections.refused]).toEqual([2, 1]);
    first.near.destroy();
    await first.served;
    const client = await P9Client.connect(dial().near);
    client.close();
  });

  it('beyond the outstanding requests the connection is not read, and goes on when one is answered', async () => {
    const { filesystem, dial } = serving({ maxOutstanding: 2 });
    const client = await P9Client.connect(dial().near);
    const fid = await client.walk(['slow']);
    await client.open(fid, 'read');
    const reads = [1, 2, 3, 4].map((count) => client.read(fid, 0, count).then((data) => data.length));
    await until(() => filesystem.blocked.length === 2);
    for (let turn = 0; turn < 5; turn++) await turns();
    expect(filesystem.blocked).toHaveLength(2);
    for (let done = 0; done < 4; done++) {
      await until(() => filesystem.blocked.length > done);
      filesystem.blocked[done]?.finish();
    }
    expect(await Promise.all(reads)).toEqual([1, 2, 3, 4]);
    client.close();
  });

  it('fids of all connections together', async () => {
    const { dial } = serving({ maxAllFids: 3 });
    const [first, second] = [dial(), dial()];
    const one = await P9Client.connect(first.near);
    const other = await P9Client.connect(second.near);
    await one.walk(['hello']);
    await expect(other.walk(['hello'])).rejects.toMatchObject({ code: 'LIMIT_REACHED' });
    one.close();
    await first.served;
    await other.walk(['hello']);
    other.close();
  });

  it('a client that waits for much and then reads none of it is disconnected', async () => {
    const { filesystem, server } = serving();
    filesystem.content = Buffer.alloc(8_000);
    const [near, far] = duplexPair();
    const served = server.serve(far, filesystem);
    const reads = Array.from({ length: 100 }, (_, tag) =>
      frame({ type: 'Tread', tag, fid: 1, offset: 0n, count: 8_000 }),
    );
    const walk = frame({ type: 'Twalk', tag: 2, fid: 0, newfid: 1, names: ['slow'] });
    near.write(
      Buffer.concat([VERSION, ATTACH, walk, frame({ type: 'Topen', tag: 3, fid: 1, mode: 0 }), ...reads]),
    );
    await until(() => filesystem.blocked.length === 100);
    for (const { finish } of filesystem.blocked) finish();
    await served;
    expect(far.destroyed).toBe(true);
  });

  it('a client that takes no replies is read no further', async () => {
    const { filesystem, server } = serving();
    const [near, far] = duplexPair(1024);
    const served = server.serve(far, filesystem);
    near.write(Buffer.concat([VERSION, ATTACH]));
    let sent = 0;
    const pump = () => {
      while (sent < 2000) if (!near.write(frame({ type: 'Tstat', tag: 2 + sent++, fid: 0 }))) return;
    };
    near.on('drain', pump);
    pump();
    await until(() => far.writableNeedDrain);
    for (let turn = 0; turn < 50; turn++) await turns();
    expect(far.writableLength).toBeLessThan(2048);
    const stuck = sent;
    expect(stuck).toBeLessThan(2000);
    const seen = replies(near);
    await until(() => seen.length === 2002);
    expect(sent).toBe(2000);
    near.destroy();
    await served;
  });
});

it.each([1, 8])(
  'leaves the thread to others every now and then, with %i connections that ask for much',
  async (count) => {
    const { filesystem, dial, server } = serving();
    const root = filesystem.attach('', '');
    const { attributes } = root;
    // Takes the thread for a millisecond.
    root.attributes = () => {
      for (const end = performance.now() + 1; performance.now() < end; );
      return attributes();
    };
    const streams = Array.from({ length: count }, () => dial().near);
    const seen = streams.map(replies);
    const answers = () => seen.reduce((sum, { length }) => sum + length, 0);
    for (const near of streams) near.write(Buffer.concat([VERSION, ATTACH]));
    await until(() => answers() === 2 * count);
    const stats = 80;
    for (const near of streams) {
      const tags = Array.from({ length: stats / count }, (_, tag) => tag);
      near.write(Buffer.concat(tags.map((tag) => frame({ type: 'Tstat', tag, fid: 0 }))));
    }
    let steps = 0;
    let answered = 2 * count;
    await until(() => {
      if (answers() > answered) steps++;
      answered = answers();
      return answered === 2 * count + stats;
    });
    // About two in a turn of the event loop, of whichever connections.
    expect(steps).toBeGreaterThan(stats / 8);
    await server.close();
  },
);

it('close ends every connection and takes no other', async () => {
  const { server, dial } = serving();
  const one = dial();
  const client = await P9Client.connect(one.near);
  await server.close();
  await one.served;
  expect(await client.closed).toMatchObject({ code: 'LINK_LOST' });
  const late = dial();
  await late.served;
  if (!late.near.destroyed) await once(late.near, 'close');
  expect(server.connections.used).toBe(0);
});
