import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { reserveUdp, type UdpRequest } from '../../../shared/ports/reserve-udp.ts';
import { lastingPort } from '../../helpers/lasting-port.ts';

/** Linux answers on all of 127.0.0.0/8; elsewhere only 127.0.0.1 is there. */
const manyLoopbacks = process.platform === 'linux' || process.platform === 'win32';

const open: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** Longer than a busy machine takes. */
const PATIENCE = { timeout: 10_000 };

async function reserve(request: UdpRequest) {
  const reservation = await reserveUdp(request);
  open.push(() => reservation.close());
  return reservation;
}

async function bound(address: string, port = 0): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(port, address);
  await once(socket, 'listening');
  open.push(() => socket.close());
  return socket;
}

/** A client that hears only the address it asked. */
async function ask(port: number, address: string, payload: Buffer): Promise<Buffer> {
  const socket = createSocket('udp4');
  socket.connect(port, address);
  await once(socket, 'connect');
  try {
    socket.setSendBufferSize(256 * 1024);
    socket.send(payload);
    const [answer] = (await Promise.race([
      once(socket, 'message'),
      once(socket, 'error').then(([error]) => Promise.reject(error as Error)),
    ])) as [Buffer];
    return answer;
  } finally {
    socket.close();
  }
}

describe('reserveUdp on one address', () => {
  it('echoes, up to the largest datagram', async () => {
    const reservation = await reserve({ ip: '127.0.0.1', port: 0 });
    expect(reservation.locals.map((local) => local.address)).toEqual(['127.0.0.1']);
    reservation.start(
      (local, payload, peer) => local.send(payload, peer.port, peer.address),
      () => {},
    );
    for (const size of [0, 1, 1_400, 65_507]) {
      const payload = Buffer.alloc(size, 7);
      expect((await ask(reservation.port, '127.0.0.1', payload)).equals(payload)).toBe(true);
    }
  });

  it('names a conflict as docker does', async () => {
    const { port } = await reserve({ ip: '127.0.0.1', port: 0 });
    await expect(reserveUdp({ ip: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `Bind for 127.0.0.1:${port} failed: port is already allocated`,
    });
    await expect(reserveUdp({ ip: '192.0.2.1', port })).rejects.toMatchObject({
      code: 'ADDRESS_NOT_AVAILABLE',
      message: `listen udp 192.0.2.1:${port}: bind: cannot assign requested address`,
    });
  });

  it('counts what it cannot send and goes on', async () => {
    const reservation = await reserve({ ip: '127.0.0.1', port: 0 });
    const [local] = reservation.locals;
    const to = await bound('127.0.0.1');
    local!.send(Buffer.alloc(70_000), to.address().port, '127.0.0.1');
    local!.send(Buffer.from('x'), 70_000, '127.0.0.1');
    local!.send(Buffer.from('x'), 5, 'nowhere');
    await expect.poll(() => local!.sendErrors, PATIENCE).toBe(3);
    local!.send(Buffer.from('good'), to.address().port, '127.0.0.1');
    expect(String((await once(to, 'message'))[0])).toBe('good');
    await reservation.close();
    local!.send(Buffer.from('x'), to.address().port, '127.0.0.1');
    expect(local!.sendErrors).toBe(4);
  });

  it('frees its port, 300 times', async () => {
    const first = await reserve({ ip: '127.0.0.1', port: await lastingPort() });
    await first.close();
    await first.close();
    expect(first.locals).toEqual([]);
    for (let i = 0; i < 300; i++) await (await reserveUdp({ ip: '127.0.0.1', port: first.port })).close();
  });
});

describe('reserveUdp on all addresses', () => {
  it('answers at each of the machine', async () => {
    const reservation = await reserve({ ip: '0.0.0.0', port: 0 });
    reservation.start(
      (local, payload, peer) =>
        local.send(Buffer.from(`${local.address} ${payload}`), peer.port, peer.address),
      () => {},
    );
    expect(reservation.locals.length).toBeGreaterThan(0);
    for (const { address } of reservation.locals) {
      expect(String(await ask(reservation.port, address, Buffer.from('hi')))).toBe(`${address} hi`);
    }
  });

  it('a machine without the family has no such address', async () => {
    await expect(reserveUdp({ ip: '::', port: 5_000, addresses: () => [] })).rejects.toMatchObject({
      code: 'ADDRESS_NOT_AVAILABLE',
      message: 'listen udp [::]:5000: bind: cannot assign requested address',
    });
  });

  describe.runIf(manyLoopbacks)('with several', () => {
    it('takes all or none', async () => {
      const other = await bound('127.0.0.3', await lastingPort());
      const { port } = other.address();
      const addresses = () => ['127.0.0.2', '127.0.0.3'];
      await expect(reserveUdp({ ip: '0.0.0.0', port, addresses })).rejects.toMatchObject({
        code: 'PORT_IN_USE',
        message: `Bind for 0.0.0.0:${port} failed: port is already allocated`,
      });
      await bound('127.0.0.2', port);
    });

    it('a port that it may choose is the same at all', async () => {
      const addresses = () => ['127.0.0.2', '127.0.0.3', '127.0.0.4'];
      const reservation = await reserve({ ip: '0.0.0.0', port: 0, addresses });
      expect(reservation.locals.map((local) => local.address)).toEqual(addresses());
      for (const address of addresses()) {
        await expect(reserveUdp({ ip: address, port: reservation.port })).rejects.toMatchObject({
          code: 'PORT_IN_USE',
        });
      }
    });

    it('an address that is not usable yet does not fail the others, and is tried again', async () => {
      const reservation = await reserve({
        ip: '0.0.0.0',
        port: 0,
        addresses: () => ['192.0.2.1', '127.0.0.2'],
        pollMs: 10,
      });
      expect(reservation.locals.map((local) => local.address)).toEqual(['127.0.0.2']);
      await expect.poll(() => reservation.bindErrors, PATIENCE).toBeGreaterThan(2);
    });

    it('follows addresses that come, go, and cannot be had at first', async () => {
      let list = ['127.0.0.2'];
      const gone: string[] = [];
      const port = await lastingPort();
      const reservation = await reserve({ ip: '0.0.0.0', port, addresses: () => list, pollMs: 10 });
      reservation.start(
        (local, payload, peer) => local.send(payload, peer.port, peer.address),
        (local) => gone.push(local.address),
      );
      const other = createSocket('udp4');
      other.bind(port, '127.0.0.3');
      await once(other, 'listening');
      list = ['127.0.0.2', '127.0.0.3'];
      await expect.poll(() => reservation.bindErrors, PATIENCE).toBeGreaterThan(0);
      other.close();
      await expect.poll(() => reservation.locals.length, PATIENCE).toBe(2);
      expect(String(await ask(port, '127.0.0.3', Buffer.from('later')))).toBe('later');
      list = ['127.0.0.3'];
      await expect.poll(() => gone, PATIENCE).toEqual(['127.0.0.2']);
      expect(reservation.locals.map((local) => local.address)).toEqual(['127.0.0.3']);
      await bound('127.0.0.2', port);
      await reservation.close();
      list = ['127.0.0.3', '127.0.0.4'];
      await new Promise((resolve) => setTimeout(resolve, 50));
      await bound('127.0.0.4', port);
    });
  });
});
