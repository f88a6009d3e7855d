/** The options of a forward, as their users meet them. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { afterAll, expect, it } from 'vitest';
import { listForwards } from '../../helpers/api.ts';
import { lastingPort } from '../../helpers/lasting-port.ts';
import { loopback, unixSpec, until } from '../../helpers/processes.ts';
import { type ProxyHeader, readProxyHeader } from '../../helpers/proxy-protocol.ts';
import {
  connectTo,
  fateOf,
  fateOfNew,
  readExactly,
  refuses,
  roundTrip,
} from '../../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../../helpers/stream-server.ts';
import { tcpEcho } from '../../helpers/tcp-echo.ts';

import type { Carrier } from './carrier.ts';

/** The timer of the one connection of ours that has this peer, as /proc/net/tcp shows it: 02 is keep-alive. */
function timerTowards(port: number): string | undefined {
  const peer = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1);
  const row = rows
    .map((line) => line.trim().split(/\s+/))
    .find(([, , remote, state]) => remote === peer && state === '01');
  return row?.[5]?.slice(0, 2);
}

export function options(carrier: Carrier): void {
  const servers: StreamServer[] = [];
  const clients = new Set<Socket>();

  afterAll(async () => {
    for (const client of clients) client.destroy();
    for (const server of servers) await server.close();
  });

  async function container(onClient: (socket: Socket) => void, where?: string): Promise<StreamServer> {
    const server = await serveStreams(onClient, where);
    servers.push(server);
    return server;
  }

  async function client(where: number | string): Promise<Socket> {
    const socket = await connectTo(where);
    clients.add(socket);
    return socket;
  }

  async function forwardOf(spec: string) {
    return (await listForwards(carrier.pair.api)).forwards.find((each) => each.spec === spec)!;
  }

  /** A container that reads a header, answers its length, and sends back what comes behind it. */
  function proxied(headers: ProxyHeader[]): (socket: Socket) => void {
    return (socket) => {
      let bytes = Buffer.alloc(0);
      const read = (chunk: Buffer): void => {
        bytes = Buffer.concat([bytes, chunk]);
        const header = readProxyHeader(bytes);
        if (header === undefined) return;
        headers.push(header);
        socket.off('data', read);
        socket.write('ready');
        socket.write(bytes.subarray(header.bytes));
        socket.pipe(socket);
      };
      socket.on('data', read);
    };
  }

  it.each(['v1', 'v2'] as const)('tells the container who its client is, %s', async (version) => {
    const headers: ProxyHeader[] = [];
    const { port } = await container(proxied(headers));
    const published = await carrier.pair.expose(`${loopback('tcp', port)}?proxy-protocol=${version}`);
    expect(published.spec).toMatch(new RegExp(`\\?proxy-protocol=${version}$`));
    // One that waits to be greeted, and one that has spoken by the time it is accepted.
    for (const says of ['', 'hello']) {
      const socket = await client(published.port);
      if (says !== '') socket.write(says);
      expect((await readExactly(socket, 5)).toString()).toBe('ready');
      if (says === '') socket.write('late.');
      expect((await readExactly(socket, 5)).toString()).toBe(says || 'late.');
      expect(headers.pop()).toMatchObject({
        version: version === 'v1' ? 1 : 2,
        family: 'ipv4',
        source: '127.0.0.1',
        sourcePort: socket.localPort,
        destination: '127.0.0.1',
        destinationPort: published.port,
      });
      socket.end();
      expect((await fateOf(socket)).how).toBe('end');
    }
    await carrier.pair.quiet(published.spec);
    expect((await carrier.pair.stats(published.spec)).bytes_up).toBe(10); // what clients said, and no more
  });

  it.each(['v1', 'v2'] as const)('says of a unix client that it has no address, %s', async (version) => {
    const headers: ProxyHeader[] = [];
    const [host, vm] = [`${carrier.pair.dir}/host-${version}.sock`, `${carrier.pair.dir}/vm-${version}.sock`];
    await container(proxied(headers), vm);
    await carrier.pair.expose(`${unixSpec(host, vm)}?proxy-protocol=${version}`);
    expect((await readExactly(await client(host), 5)).toString()).toBe('ready');
    expect(headers).toMatchObject([{ version: version === 'v1' ? 1 : 2, family: 'unknown' }]);
  });

  it('resets a connection that is idle on both sides, counts it, and leaves others alone', async () => {
    const fates: Promise<{ how: string }>[] = [];
    const { port } = await container((socket) => {
      fates.push(fateOf(socket));
      socket.write('hi');
    });
    const { port: echo } = await container((socket) => void socket.pipe(socket));
    const published = await carrier.pair.expose(`${loopback('tcp', port)}?idle-timeout=1`);
    const unhurried = await carrier.pair.expose(`${loopback('tcp', echo)}?idle-timeout=600`);
    const patient = await client(unhurried.port);
    const idle = await client(published.port);
    await readExactly(idle, 2);
    const idleFate = fateOf(idle);
    const busy = await client(published.port);
    const talk = setInterval(() => busy.write('x'), 100);
    try {
      expect((await idleFate).how).toBe('ECONNRESET');
      expect((await fates[0]!).how).toBe('ECONNRESET');
      expect(busy.destroyed).toBe(false);
      await until(
        'the idle one to be counted as gone',
        async () => (await carrier.pair.stats(published.spec)).active === 1,
      );
      expect(await carrier.pair.stats(published.spec)).toMatchObject({ idle_timeouts: 1, resets: 1 });
      expect(await carrier.pair.stats(unhurried.spec)).toMatchObject({ idle_timeouts: 0 });
    } finally {
      clearInterval(talk);
    }
    patient.write('still');
    expect((await readExactly(patient, 5)).toString()).toBe('still');
    busy.destroy();
  });

  it('ends a UDP flow that was idle for as long as it says', async () => {
    const echo = createSocket('udp4');
    echo.on('message', (payload, peer) => echo.send(payload, peer.port, peer.address));
    const socket = createSocket('udp4');
    try {
      echo.bind(0, '127.0.0.1');
      await once(echo, 'listening');
      const published = await carrier.pair.expose(`${loopback('udp', echo.address().port)}?idle-timeout=1`);
      const answer = once(socket, 'message');
      socket.send('hello', published.port, '127.0.0.1');
      await answer;
      expect((await carrier.pair.stats(published.spec)).flows).toBe(1);
      await until('the flow to end', async () => (await carrier.pair.stats(published.spec)).flows === 0);
      expect((await carrier.pair.stats(published.spec)).flows_expired).toBe(1);
    } finally {
      echo.close();
      socket.close();
    }
  });

  it('refuses clients while the container refuses, and holds the port where it can', async () => {
    const port = await lastingPort();
    const published = await carrier.pair.expose(`${loopback('tcp', port)}?wait=listening`);
    const stateIs = (state: string) =>
      until(`it to be ${state}`, async () => (await forwardOf(published.spec)).state === state);
    const waiting = carrier.engine === 'linux' ? 'waiting' : 'waiting, port not held';
    await stateIs(waiting);
    expect(await refuses(published.port)).toBe(true);
    const other = createServer();
    const taken = await once(other.listen(published.port, '127.0.0.1'), 'listening').then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(taken).toBe(carrier.engine === 'linux' ? 'EADDRINUSE' : undefined);
    other.close();
    for (const _ of ['up', 'up again']) {
      const server = await tcpEcho(port);
      await until('the host port to open', async () => !(await refuses(published.port)));
      await stateIs('listening');
      expect(await roundTrip(published.port, 'hello')).toBe('hello');
      await server.close();
      expect((await fateOfNew(published.port)).how).toBe('ECONNRESET');
      await stateIs(waiting);
      expect(await refuses(published.port)).toBe(true);
    }
    expect((await carrier.pair.stats(published.spec)).dial_failures).toBe(2); // what only looks is not counted
  });

  it.skipIf(!existsSync('/proc/net/tcp'))(
    'keeps both TCP connections alive, as /proc/net/tcp says',
    async () => {
      const server = await tcpEcho();
      servers.push(server);
      const quiet = await carrier.pair.expose(loopback('tcp', server.port));
      const silent = await client(quiet.port);
      silent.write('x');
      await readExactly(silent, 1);
      await until('idle timers', () => timerTowards(silent.localPort!) === '00');
      silent.destroy();
      await until('no client', () => server.sockets.size === 0);

      const published = await carrier.pair.expose(`${loopback('tcp', server.port)}?keepalive=300`);
      const socket = await client(published.port);
      socket.write('x');
      await readExactly(socket, 1);
      const [peer] = server.sockets;
      await until('the client to be asked', () => timerTowards(socket.localPort!) === '02');
      await until('the container to be asked', () => timerTowards(server.port) === '02');
      expect(peer!.destroyed).toBe(false);
    },
  );
}
