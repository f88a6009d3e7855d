/** A container whose backlog is full for a moment costs nobody a connection; one that never accepts is named. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engines } from '../helpers/engines.ts';
import { logLines, Pair, type Running, unixSpec, until } from '../helpers/processes.ts';
import { connectTo, fateOf, roundTrip } from '../helpers/stream-client.ts';

const CLIENTS = 60;
/** Accepts one after the other, each as slowly as a busy program does, and echoes. */
const CONTAINER = `
  const net = require('node:net');
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    for (const end = Date.now() + 5; Date.now() < end; );
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen({ path: process.argv[1], backlog: 1 }, () => console.log('ready'));
`;

describe.each(engines)('on the %s engine, a unix socket with a backlog of 1', (engine) => {
  let pair: Pair;
  let container: Running;
  let published: string;
  let spec: string;

  beforeAll(async () => {
    pair = await Pair.start('dedicated', engine);
    const path = join(pair.dir, 'container.sock');
    container = pair.group.startNode('-e', CONTAINER, path);
    await until('the container', () => container.stdout().includes('ready'));
    published = join(pair.dir, 'published.sock');
    ({ spec } = await pair.expose(unixSpec(published, path)));
  });

  afterAll(() => pair?.close());

  it('takes a burst of clients, each in its turn', async () => {
    const words = Array.from({ length: CLIENTS }, (_, index) => `client ${index}`);
    expect(await Promise.all(words.map((word) => roundTrip(published, word)))).toEqual(words);
    expect(await pair.stats(spec)).toMatchObject({ dial_failures: 0, resets: 0 });
  });

  it('that is never accepted at ends its clients, and says why', async () => {
    await pair.quiet(spec);
    container.child.kill('SIGSTOP');
    const clients = await Promise.all(Array.from({ length: 6 }, () => connectTo(published)));
    const over = clients.map((client) => fateOf(client)).map((fate) => fate.then(() => 1));
    // Two are in the backlog, which counts as connected; the others are dialled for two seconds.
    let ended = 0;
    for (const each of over) void each.then(() => ended++);
    await until('four clients to be ended', () => ended === 4);
    await until('four to be counted', async () => (await pair.stats(spec)).active === 2);
    expect((await pair.stats(spec)).dial_failures).toBe(4);
    const why = logLines(pair.host.stderr()).filter(({ msg }) => msg?.startsWith('a client was reset'));
    expect(why.length).toBe(4);
    for (const { msg } of why) expect(msg).toContain('EAGAIN');
    container.child.kill('SIGCONT');
    for (const client of clients) client.destroy();
    await pair.quiet(spec);
    expect(await roundTrip(published, 'again')).toBe('again');
  });
});
