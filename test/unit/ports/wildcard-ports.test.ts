/** Everything in 127.0.0.0/8 is an address of Linux; elsewhere there is one loopback address only. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { reserveTcp } from '../../../shared/ports/reserve-tcp.ts';
import { WildcardPorts } from '../../../shared/ports/wildcard-ports.ts';
import { lastingPort } from '../../helpers/lasting-port.ts';

const open: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const wildcard = new WildcardPorts({ below: 65_536, always: true });

async function reserve(ip: string, port: number) {
  const reservation = await reserveTcp({ ip, port, wildcard });
  open.push(() => reservation.close());
  return reservation;
}

/** What a client reads, or the code of how it failed. */
function ask(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    let text = '';
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    socket.on('end', () => {
      socket.end();
      resolve(text);
    });
  });
}

describe.skipIf(process.platform !== 'linux')('one listener for several addresses', () => {
  it('serves each its own clients, also those that came early, and resets all others', async () => {
    const port = await lastingPort();
    const one = await reserve('127.0.0.1', port);
    const early = ask('127.0.0.1', port);
    const two = await reserve('127.0.0.2', port);
    one.start((socket) => void socket.resume().end('one'));
    two.start((socket) => void socket.resume().end('two'));
    expect(await early).toBe('one');
    expect(await ask('127.0.0.1', port)).toBe('one');
    expect(await ask('127.0.0.2', port)).toBe('two');
    expect(await ask('127.0.0.3', port)).toBe('ECONNRESET');
    await expect(reserve('127.0.0.2', port)).rejects.toMatchObject({ code: 'PORT_IN_USE' });

    await one.close();
    expect(await ask('127.0.0.1', port)).toBe('ECONNRESET');
    expect(await ask('127.0.0.2', port)).toBe('two');
    await two.close();
    await two.close();
    expect(await ask('127.0.0.2', port)).toBe('ECONNREFUSED');
    // All of it was given back.
    const again = createServer().listen(port, '0.0.0.0');
    await once(again, 'listening');
    again.close();
  });

  it('refuses a port that somebody has, for all who wanted it at once, and takes it later', async () => {
    const taken = createServer().listen(0, '127.0.0.9');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const both = await Promise.allSettled([reserve('127.0.0.1', port), reserve('127.0.0.2', port)]);
    for (const each of both)
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'PORT_IN_USE' } });
    expect((both[0] as PromiseRejectedResult).reason.message).toContain(`Bind for 127.0.0.1:${port} failed`);
    taken.close();
    await once(taken, 'close');
    (await reserve('127.0.0.1', port)).start((socket) => void socket.resume().end('now'));
    expect(await ask('127.0.0.1', port)).toBe('now');
  });
});

describe('which ports are meant', () => {
  const denied = Object.assign(new Error(), { code: 'EACCES' });
  const taken = Object.assign(new Error(), { code: 'EADDRINUSE' });

  it('are those below the limit that were denied at one address', () => {
    const ports = new WildcardPorts({ below: 1024, always: false });
    expect(ports.takes({ ip: '127.0.0.1', port: 80 })).toBe(false);
    expect(ports.takes({ ip: '127.0.0.1', port: 80 }, denied)).toBe(true);
    expect(ports.takes({ ip: '::1', port: 80 }, denied)).toBe(true);
    expect(ports.takes({ ip: '127.0.0.1', port: 80 }, taken)).toBe(false);
    expect(ports.takes({ ip: '0.0.0.0', port: 80 }, denied)).toBe(false);
    expect(ports.takes({ ip: '127.0.0.1', port: 1024 }, denied)).toBe(false);
    expect(ports.takes({ ip: '127.0.0.1', port: 0 }, denied)).toBe(false);
  });
});
