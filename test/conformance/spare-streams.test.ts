/** Streams that a shim opens for a host agent that cannot: what a stand-in shim, and strangers, may do with them. */
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { establishLink } from '../../shared/link/establish.ts';
import { LinkIdentity } from '../../shared/link/identity.ts';
import type { Link } from '../../shared/link/link.ts';
import { readHead } from '../../shared/link/read-head.ts';
import { SPARES_READY } from '../../shared/link/spare-wish.ts';
import { type Logger, silentLogger } from '../../shared/logger.ts';
import { decodePreface, encodeResult } from '../../shared/preface.ts';
import { encodeSpareHead } from '../../shared/spare-head.ts';
import { engines } from '../helpers/engines.ts';
import { type HostAlone, startHostAlone } from '../helpers/host-alone.ts';
import { until } from '../helpers/processes.ts';
import { connectTo, fateOf, readExactly } from '../helpers/stream-client.ts';

const SPEC = 'tcp:127.0.0.1:0:tcp:10.0.0.1:80';
const never = new AbortController().signal;

describe.each(engines)('spare streams, %s engine', (engine) => {
  let alone: HostAlone;
  const warnings: Array<{ refused?: number; text: string }> = [];
  const sockets = new Set<Socket>();

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    warnings.splice(0);
    await alone?.close();
  });

  async function start(): Promise<void> {
    const note = (fields: { refused?: number }, text: string): void =>
      void warnings.push({ ...fields, text });
    const log = Object.assign(Object.create(silentLogger()) as Logger, { warn: note, child: () => log });
    alone = await startHostAlone(engine, 'auto', log);
  }

  async function dial(): Promise<Socket> {
    const stream = await alone.dial();
    sockets.add(stream);
    stream.on('error', () => {});
    return stream;
  }

  /** A link on which the test opens the streams. */
  async function shim(features?: readonly string[]): Promise<{ link: Link; asked: number[] }> {
    const asked: number[] = [];
    const identity = new LinkIdentity('shim');
    if (features !== undefined) {
      const hello = identity.nextHello();
      identity.nextHello = () => ({ ...hello, features });
    }
    const link = await establishLink(await dial(), {
      identity,
      dialled: true,
      legacyPeer: false,
      log: silentLogger(),
      signal: never,
      onChannel: (channel) => channel.accept(),
      onSpares: (count) => asked.push(count),
      onStreamReset() {},
      onReverse() {},
    });
    return { link, asked };
  }

  async function spare({ streamKey }: Link): Promise<Socket> {
    const stream = await dial();
    stream.write(encodeSpareHead(streamKey));
    return stream;
  }

  /** Takes the preface that the host agent writes, and greets the client. */
  async function serve(stream: Socket): Promise<void> {
    await readHead(stream, decodePreface, { what: 'preface', maxBytes: 4_656, timeoutMs: 30_000 });
    stream.write(Buffer.concat([encodeResult(0), Buffer.from('hello')]));
  }

  async function client(port: number): Promise<Socket> {
    const socket = await connectTo(port);
    sockets.add(socket);
    return socket;
  }

  /** Until the host agent has closed it. */
  const over = (stream: Socket): Promise<unknown> => fateOf(stream.resume());

  const greeting = async (socket: Socket): Promise<string> => (await readExactly(socket, 5)).toString();

  it('are asked for when the link is up, and a client that finds none waits for the next', async () => {
    await start();
    const port = await alone.expose(SPEC);
    const { link, asked } = await shim();
    expect(link.lane).toBe('dedicated');
    await until('the host to ask', () => asked[0] === SPARES_READY);
    const greeted = greeting(await client(port));
    await until('the host to ask for more', () => asked.length > 1);
    await serve(await spare(link));
    expect(await greeted).toBe('hello');
  });

  it('that die unused, or say something, are passed over', async () => {
    await start();
    const port = await alone.expose(SPEC);
    const { link } = await shim();
    const dead = await spare(link);
    const talker = await spare(link);
    const living = await spare(link);
    dead.destroy();
    await new Promise((resolve) => talker.write('out of turn', resolve));
    const served = serve(living);
    expect(await greeting(await client(port))).toBe('hello');
    await served;
  });

  it('end with their link, and so do those who wait for one', async () => {
    await start();
    const port = await alone.expose(SPEC);
    const { link } = await shim();
    const lying = over(await spare(link));
    link.close();
    await lying;
    const again = await shim();
    const waiting = fateOf(await client(port));
    await until('the host to ask for more', () => again.asked.length > 1);
    again.link.close();
    expect((await waiting).how).toBe('ECONNRESET');
    // With the key of a link that is over nobody gets in.
    const { link: last } = await shim();
    await over(await spare(link));
    await until('a warning', () => warnings.some(({ text }) => text.includes('the key of no link')));
    const served = serve(await spare(last));
    expect(await greeting(await client(port))).toBe('hello');
    await served;
  });

  it('of strangers are refused and counted, and harm nobody', async () => {
    await start();
    const port = await alone.expose(SPEC);
    const { link } = await shim();
    const heads = [
      encodeSpareHead(Buffer.alloc(16, 1)),
      Buffer.from('GET / HTTP/1.1'),
      Buffer.alloc(32, 0x53),
    ];
    for (const [index, head] of heads.entries()) {
      const stranger = await dial();
      stranger.write(head);
      await over(stranger);
      expect(warnings.filter(({ refused }) => refused === index + 1)).toHaveLength(index < 2 ? 1 : 0);
    }
    const served = serve(await spare(link));
    expect(await greeting(await client(port))).toBe('hello');
    await served;
  });

  it('are not asked of a shim that does not know them: its link is multiplexed', async () => {
    await start();
    const { link, asked } = await shim(['control', 'dial-result', 'reset', 'dedicated', 'udp-flows']);
    expect(link.lane).toBe('multiplexed');
    const port = await alone.expose(SPEC);
    await client(port);
    expect(asked).toEqual([]);
    await over(await spare(link));
    expect(warnings.map(({ text }) => text).join()).toMatch(/the key of no link that takes any/);
  });
});
