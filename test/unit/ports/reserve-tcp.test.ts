import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { reserveTcp } from '../../../shared/ports/reserve-tcp.ts';
import { lastingPort } from '../../helpers/lasting-port.ts';

/** Longer than a busy machine takes. */
const PATIENCE = { timeout: 10_000 };

const open: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function reserve(ip: string, port = 0) {
  const reservation = await reserveTcp({ ip, port });
  open.push(() => reservation.close());
  return reservation;
}

async function dial(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host, allowHalfOpen: true });
  open.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** A callee as the relay is: it resumes, and answers each client with what it sent, doubled, after its end. */
function echoTwice(socket: Socket): void {
  open.push(() => socket.destroy());
  socket.on('error', () => {});
  const seen: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => seen.push(chunk));
  socket.on('end', () => socket.end(Buffer.concat([...seen, ...seen])));
  socket.resume();
}

async function readAll(socket: Socket): Promise<string> {
  const seen: Buffer[] = [];
  for await (const chunk of socket) seen.push(chunk as Buffer);
  return Buffer.concat(seen).toString();
}

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
);

describe('reserveTcp', () => {
  it('holds clients until it is started, in order, and keeps half-close', async () => {
    const reservation = await reserve('127.0.0.1');
    expect(reservation.port).toBeGreaterThan(0);
    const early = await dial(reservation.port);
    early.end('early');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const paused: boolean[] = [];
    reservation.start((socket) => {
      paused.push(socket.isPaused() || !socket.readableFlowing);
      echoTwice(socket);
    });
    expect(await readAll(early)).toBe('earlyearly');
    const late = await dial(reservation.port);
    late.end('late');
    expect(await readAll(late)).toBe('latelate');
    expect(paused).toEqual([true, true]);
  });

  it('forgets a held client that has reset', async () => {
    const reservation = await reserve('127.0.0.1');
    const gone = await dial(reservation.port);
    await new Promise((resolve) => setTimeout(resolve, 20));
    gone.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const served: Socket[] = [];
    reservation.start((socket) => {
      served.push(socket);
      echoTwice(socket);
    });
    const next = await dial(reservation.port);
    next.end('x');
    expect(await readAll(next)).toBe('xx');
  });

  it('resets clients beyond 128 and counts them', async () => {
    const reservation = await reserve('127.0.0.1');
    for (let i = 0; i < 130; i++) {
      // Not awaited: the last two may be reset before they know that they were connected.
      const client = connect({ port: reservation.port, host: '127.0.0.1' });
      client.on('error', () => {}).resume();
      open.push(() => client.destroy());
    }
    await expect.poll(() => reservation.turnedAway, PATIENCE).toBe(2);
    let served = 0;
    reservation.start((socket) => {
      served++;
      echoTwice(socket);
    });
    expect(served).toBe(128);
  });

  it('close frees the port at once, resets who waits, and leaves served clients alone', async () => {
    const reservation = await reserve('127.0.0.1', await lastingPort());
    reservation.start(echoTwice);
    const served = await dial(reservation.port);
    served.write('a');
    await new Promise((resolve) => setTimeout(resolve, 20));
    await reservation.close();
    await reservation.close();
    const again = await reserve('127.0.0.1', reservation.port);
    expect(again.port).toBe(reservation.port);
    served.end('b');
    expect(await readAll(served)).toBe('abab');

    const waiting = await dial(again.port);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const [[error]] = await Promise.all([once(waiting, 'error'), again.close()]);
    expect((error as NodeJS.ErrnoException).code).toBe('ECONNRESET');
    again.start(() => expect.unreachable());
    const refused = connect({ port: again.port, host: '127.0.0.1' });
    const [refusal] = await once(refused, 'error');
    expect((refusal as NodeJS.ErrnoException).code).toBe('ECONNREFUSED');
  });

  it('names a conflict as docker does', async () => {
    const { port } = await reserve('127.0.0.1');
    await expect(reserveTcp({ ip: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `Bind for 127.0.0.1:${port} failed: port is already allocated`,
    });
    await expect(reserveTcp({ ip: '192.0.2.1', port })).rejects.toMatchObject({
      code: 'ADDRESS_NOT_AVAILABLE',
      message: `listen tcp 192.0.2.1:${port}: bind: cannot assign requested address`,
    });
  });

  it.runIf(hasIpv6)('takes :: beside 0.0.0.0', async () => {
    const six = await reserve('::', await lastingPort());
    const four = createServer();
    open.push(() => four.close());
    await once(four.listen({ host: '0.0.0.0', port: six.port }), 'listening');
    six.start(echoTwice);
    const client = await dial(six.port, '::1');
    client.end('6');
    expect(await readAll(client)).toBe('66');
    await expect(reserveTcp({ ip: '::', port: six.port })).rejects.toMatchObject({
      message: `Bind for [::]:${six.port} failed: port is already allocated`,
    });
  });

  it('leaves nothing behind, 500 times', async () => {
    const port = await lastingPort();
    for (let i = 0; i < 500; i++) {
      const reservation = await reserveTcp({ ip: '127.0.0.1', port });
      reservation.start(() => {});
      await reservation.close();
    }
  });
});
