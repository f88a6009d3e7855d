import type { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../../shared/logger.ts';
import { Channel } from '../../../shared/p9/channel.ts';
import { P9Client } from '../../../shared/p9/client.ts';
import { decode, encode } from '../../../shared/p9/codec.ts';
import type { Message } from '../../../shared/p9/messages.ts';
import { P9Server } from '../../../shared/p9/server.ts';
import { DIALECTS } from './arbitraries.ts';
import { duplexPair } from './duplex-pair.ts';
import { MemoryFilesystem } from './memory-filesystem.ts';
import { turns } from './raw-session.ts';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

/** A server that answers by a function, for what ours would never answer. */
function fakeServer(answer: (request: Message) => Message | undefined): Duplex {
  const [near, far] = duplexPair();
  const channel = new Channel(1 << 20);
  far.on('data', (chunk) => {
    channel.push(chunk);
    for (let frame = channel.next(); frame !== undefined; frame = channel.next()) {
      const reply = answer(decode(frame, '9P2000') as Message);
      if (reply !== undefined) far.write(encode(reply, '9P2000'));
    }
  });
  return near;
}

const NOTHING = new Uint8Array(0);
const qid = { type: 0x80, version: 0, path: 1n };
function polite(request: Message): Message {
  const { tag } = request;
  if (request.type === 'Tversion')
    return { type: 'Rversion', tag, msize: request.msize, version: request.version };
  if (request.type === 'Tattach') return { type: 'Rattach', tag, qid };
  return { type: 'Rerror', tag, ename: 'file not found', errno: 0 };
}

describe.each(DIALECTS)('against our server in %s', (dialect) => {
  async function connected() {
    const filesystem = new MemoryFilesystem();
    const server = new P9Server({ log: silentLogger() });
    const [near, far] = duplexPair();
    server.serve(far, filesystem);
    return { filesystem, client: await P9Client.connect(near, { dialect, msize: 512 }) };
  }

  it('walks, opens, reads, writes, stats and clunks', async () => {
    const { filesystem, client } = await connected();
    const fid = await client.walk(['hello']);
    expect(await client.stat(fid)).toMatchObject({ directory: false, permissions: 0o644, size: 11 });
    await client.open(fid, 'read-write', { truncate: true });
    expect(text(await client.read(fid, 6, 100))).toBe('world');
    expect(await client.read(fid, 11, 100)).toHaveLength(0);
    expect(await client.write(fid, 0, Buffer.from('abc'))).toBe(3);
    expect(await client.write(fid, 0, Buffer.alloc(5000))).toBe(512 - 24);
    await client.clunk(fid);
    expect(filesystem.events[0]).toBe('open hello r w t');
    expect(filesystem.events.at(-1)).toBe('close hello');
    client.close();
  });

  it('lists directories over several pages', async () => {
    const { filesystem, client } = await connected();
    for (let number = 0; number < 30; number++) filesystem.add(`file ${number}`);
    const fid = await client.walk([]);
    await client.open(fid, 'read');
    const listed = await client.readdir(fid);
    expect(listed).toHaveLength(35);
    expect(listed.filter(({ directory }) => directory).map(({ name }) => name)).toEqual(['deep']);
    expect(listed.at(-1)?.name).toBe('file 29');
    client.close();
  });

  it('makes directories and removes', async () => {
    const { filesystem, client } = await connected();
    await client.mkdir('new');
    await expect(client.mkdir('new')).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await client.remove(await client.walk(['new']));
    expect(filesystem.events).toEqual(['remove new']);
    client.close();
  });

  it('a walk that ends early is NOT_FOUND and leaves no fid', async () => {
    const { client } = await connected();
    await expect(client.walk(['nope'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(client.walk(['deep', 'nope'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(client.stat(2)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    client.close();
  });

  it('several at once are answered each on its own, out of order', async () => {
    const { filesystem, client } = await connected();
    const slow = await client.walk(['slow']);
    const quick = await client.walk(['hello']);
    await client.open(slow, 'read');
    await client.open(quick, 'read');
    const order: string[] = [];
    const waiting = client.read(slow, 0, 5).then(() => order.push('slow'));
    await client.read(quick, 0, 5).then(() => order.push('quick'));
    filesystem.blocked[0]?.finish();
    await waiting;
    expect(order).toEqual(['quick', 'slow']);
    client.close();
  });

  it('an aborted request is flushed on the server and rejected', async () => {
    const { filesystem, client } = await connected();
    const fid = await client.walk(['slow']);
    await client.open(fid, 'read');
    const controller = new AbortController();
    const reading = client.read(fid, 0, 5, controller.signal);
    while (filesystem.blocked.length === 0) await turns();
    controller.abort();
    await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(filesystem.events.at(-1)).toBe('aborted read slow');
    await expect(client.read(fid, 0, 5, controller.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await client.stat(fid)).toMatchObject({ size: 11 });
    client.close();
  });

  it('an aborted request that succeeds all the same counts', async () => {
    const { filesystem, client } = await connected();
    const fid = await client.walk(['stubborn']);
    await client.open(fid, 'read-write');
    const controller = new AbortController();
    const writing = client.write(fid, 0, Buffer.from('abc'), controller.signal);
    while (filesystem.blocked.length === 0) await turns();
    controller.abort();
    await turns();
    filesystem.blocked[0]?.finish();
    expect(await writing).toBe(3);
    client.close();
  });
});

describe('the end', () => {
  it('of the connection rejects all that waits and all that comes', async () => {
    const near = fakeServer((request) => (request.type === 'Tstat' ? undefined : polite(request)));
    const client = await P9Client.connect(near);
    const waiting = [client.stat(0), client.stat(0)].map((one) => one.catch((error) => error.code));
    near.destroy();
    expect(await Promise.all(waiting)).toEqual(['LINK_LOST', 'LINK_LOST']);
    expect(await client.closed).toMatchObject({ code: 'LINK_LOST' });
    await expect(client.stat(0)).rejects.toMatchObject({ code: 'LINK_LOST' });
  });

  it('by close is no error', async () => {
    const near = fakeServer(polite);
    const client = await P9Client.connect(near);
    client.close();
    expect(await client.closed).toBeUndefined();
    expect(near.destroyed).toBe(true);
  });
});

describe('a server that does not keep to the protocol', () => {
  it.each<[string, (request: Message) => Message]>([
    ['another version', ({ tag }) => ({ type: 'Rversion', tag, msize: 8192, version: 'unknown' })],
    ['a larger msize', ({ tag }) => ({ type: 'Rversion', tag, msize: 1 << 30, version: '9P2000' })],
    ['a reply of another kind', ({ tag }) => ({ type: 'Rflush', tag })],
    ['a reply to no request', () => ({ type: 'Rflush', tag: 3 })],
  ])('%s fails the connection', async (_what, answer) => {
    const near = fakeServer(answer);
    await expect(P9Client.connect(near)).rejects.toMatchObject({
      code: expect.stringMatching(/PROTOCOL|UNSUPPORTED/),
    });
    expect(near.destroyed).toBe(true);
  });

  it('bytes that are no frame fail the connection', async () => {
    const [near, far] = duplexPair();
    const connecting = P9Client.connect(near);
    far.write(Buffer.from([1, 0, 0, 0]));
    await expect(connecting).rejects.toMatchObject({ code: 'PROTOCOL' });
  });

  it('more data than was asked for is refused', async () => {
    const near = fakeServer((request) =>
      request.type === 'Tread'
        ? { type: 'Rread', tag: request.tag, data: new Uint8Array(9) }
        : polite(request),
    );
    const client = await P9Client.connect(near);
    await expect(client.read(0, 0, 8)).rejects.toMatchObject({ code: 'PROTOCOL' });
    client.close();
  });
});

describe('the tag of a flushed request', () => {
  it('is free after Rflush: what is answered to it then is an error', async () => {
    const near = fakeServer((request) => {
      if (request.type === 'Tflush') return { type: 'Rflush', tag: request.tag };
      // Answers the first Tread, which has been flushed, when the second comes.
      if (request.type === 'Tread')
        return request.offset === 0n ? undefined : { type: 'Rread', tag: 1, data: NOTHING };
      return polite(request);
    });
    const client = await P9Client.connect(near);
    const controller = new AbortController();
    const first = client.read(0, 0, 1, controller.signal);
    controller.abort();
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(client.read(0, 1, 1)).rejects.toMatchObject({ code: 'PROTOCOL' });
  });

  it('is not used before Rflush, also when the request was answered', async () => {
    const later: Array<() => void> = [];
    let flushed: number | undefined;
    const used: number[] = [];
    const [near, far] = duplexPair();
    const channel = new Channel(1 << 20);
    const answer = (reply: Message) => far.write(encode(reply, '9P2000'));
    far.on('data', (chunk) => {
      channel.push(chunk);
      for (let frame = channel.next(); frame !== undefined; frame = channel.next()) {
        const request = decode(frame, '9P2000') as Message;
        used.push(request.tag);
        if (request.type === 'Tflush') {
          flushed = request.oldtag;
          answer({ type: 'Rread', tag: request.oldtag, data: NOTHING });
          later.push(() => answer({ type: 'Rflush', tag: request.tag }));
        } else if (request.type !== 'Tread') answer(polite(request));
      }
    });
    const client = await P9Client.connect(near);
    const controller = new AbortController();
    const reading = client.read(0, 0, 1, controller.signal);
    controller.abort();
    await reading;
    used.length = 0;
    for (let turn = 0; turn < 0x1_0000; turn += 256) {
      await Promise.all(Array.from({ length: 256 }, () => client.stat(0).catch(() => {})));
    }
    expect(used).toHaveLength(0x1_0000);
    expect(used).not.toContain(flushed);
    later[0]?.();
    client.close();
  });
});

describe('connecting can be given up', () => {
  const cancelled = expect.objectContaining({ code: 'CANCELLED' });

  it('before it begins', async () => {
    const near = fakeServer(() => undefined);
    await expect(P9Client.connect(near, { signal: AbortSignal.abort() })).rejects.toEqual(cancelled);
    expect(near.destroyed).toBe(true);
  });

  it.each(['Tversion', 'Tattach'])('while the server is silent from %s on', async (type) => {
    const giveUp = new AbortController();
    let silent = false;
    const near = fakeServer((request) => {
      silent ||= request.type === type;
      if (!silent) return polite(request);
      setImmediate(() => giveUp.abort());
      return undefined;
    });
    await expect(P9Client.connect(near, { signal: giveUp.signal })).rejects.toEqual(cancelled);
    expect(near.destroyed).toBe(true);
  });

  it('and not any more when it is done', async () => {
    const giveUp = new AbortController();
    const client = await P9Client.connect(fakeServer(polite), { signal: giveUp.signal });
    giveUp.abort();
    // The server's own answer, over a connection that is still there.
    await expect(client.stat(client.root)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    client.close();
  });
});
