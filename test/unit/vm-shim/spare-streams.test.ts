import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_SPARES } from '../../../shared/link/spare-wish.ts';
import type { Logger } from '../../../shared/logger.ts';
import { encodeSpareHead } from '../../../shared/spare-head.ts';
import { SpareStreams } from '../../../vm-shim/data/spare-streams.ts';
import { until } from '../../helpers/processes.ts';
import { readExactly } from '../../helpers/stream-client.ts';

const KEY = Buffer.alloc(16, 7);
const HEAD = encodeSpareHead(KEY);
const log = { info() {}, debug() {} } as unknown as Logger;

describe('SpareStreams', () => {
  let server: Server;
  /** The host's ends that are open, in the order of their arrival. */
  let arrived: Socket[];
  let used: Socket[];
  let spares: SpareStreams;
  let refusing: boolean;
  let dials: number;

  beforeEach(async () => {
    [arrived, used, refusing, dials] = [[], [], false, 0];
    const mine = arrived;
    server = createServer({ allowHalfOpen: true }, (socket) => {
      mine.push(socket);
      socket.on('error', () => {});
      socket.on('close', () => mine.splice(mine.indexOf(socket), 1));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    spares = new SpareStreams({
      streamKey: KEY,
      dial: async () => {
        dials++;
        if (refusing) throw new Error('refused');
        const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
        await once(socket, 'connect');
        return socket.pause();
      },
      accept: (stream) => used.push(stream),
      log,
    });
  });
  afterEach(() => {
    spares.end();
    for (const socket of [...arrived, ...used]) socket.destroy();
    server.close();
  });

  const open = (count: number) => until(`${count} streams`, () => arrived.length === count);

  it('keeps so many open that begin with the head, and not more than the most', async () => {
    spares.want(3);
    await open(3);
    for (const socket of arrived) expect((await readExactly(socket, HEAD.length)).equals(HEAD)).toBe(true);
    spares.want(1_000);
    await open(MAX_SPARES);
    expect(dials).toBe(MAX_SPARES);
  });

  it('opens another for one that comes into use, whose bytes are all kept', async () => {
    spares.want(2);
    await open(2);
    arrived[0]!.write('preface');
    await open(3);
    expect(used).toHaveLength(1);
    expect((await readExactly(used[0]!, 7)).toString()).toBe('preface');
  });

  it('opens another for one that dies, and tries on while that fails', async () => {
    spares.want(2);
    await open(2);
    refusing = true;
    arrived[0]!.destroy();
    await until('some tries', () => dials > 4);
    refusing = false;
    await open(2);
    expect(used).toEqual([]);
  });

  it('does not replace those that the host closes because it wants fewer', async () => {
    spares.want(4);
    await open(4);
    spares.want(1);
    for (const socket of arrived.slice(1)) socket.destroy();
    await open(1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([dials, arrived.length]).toEqual([4, 1]);
  });

  it('closes those that are unused when the link is over, and opens no more', async () => {
    spares.want(2);
    await open(2);
    arrived[0]!.write('preface');
    await open(3);
    for (const socket of arrived) socket.resume().on('end', () => socket.end());
    spares.end();
    await open(1);
    expect(used[0]!.destroyed).toBe(false);
    spares.want(5);
    expect(dials).toBe(3);
  });
});
