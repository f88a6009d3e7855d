/** What a reserved port is to clients, and that it costs them a repeated SYN and no more when it is opened. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { Arena } from '../../../../shared/platform/linux/arena.ts';
import { EPOLLOUT } from '../../../../shared/platform/linux/constants.ts';
import { UdpSockets } from '../../../../shared/platform/linux/datagrams/udp-sockets.ts';
import { Epoll } from '../../../../shared/platform/linux/epoll.ts';
import { EINPROGRESS } from '../../../../shared/platform/linux/errno.ts';
import { loadLibc } from '../../../../shared/platform/linux/libc.ts';
import { openTcpListener } from '../../../../shared/platform/linux/open-listener.ts';
import { encodeSockaddr } from '../../../../shared/platform/linux/sockaddr.ts';
import { Sockets } from '../../../../shared/platform/linux/sockets.ts';
import { engines } from '../../../helpers/engines.ts';

const EAGAIN = 11;

describe.skipIf(!engines.includes('linux'))('a reserved port', async () => {
  const libc = await loadLibc();
  const arena = new Arena(libc, 64 * 1024);
  const sockets = new Sockets(libc, arena);
  const datagrams = new UdpSockets(libc, arena);
  const epoll = new Epoll(libc, arena);
  const open: number[] = [];
  let peer: Socket | undefined;

  afterEach(() => {
    for (const fd of open.splice(0)) libc.close(fd);
    peer?.close();
    peer = undefined;
  });

  function connect(ip: string, port: number): number {
    const address = encodeSockaddr({ family: 'ip', ip, port });
    const fd = sockets.open(address);
    open.push(fd);
    expect(sockets.connect(fd, address)).toBe(-1);
    expect(libc.errno()).toBe(EINPROGRESS);
    expect(epoll.add(fd, EPOLLOUT, 1)).toBe(0);
    return fd;
  }

  it.each(['127.0.0.1', '::1'])('of TCP at %s answers no SYN until it is opened', (ip) => {
    const listener = openTcpListener(sockets, libc, { ip, port: 0 });
    open.push(listener.fd);
    const early = connect(ip, listener.port);
    // Without the filter, a connect over loopback is through before it returns: half a second is no race.
    expect(epoll.wait(500)).toBe(0);
    expect(sockets.accept(listener.fd)).toBe(-1);
    expect(libc.errno()).toBe(EAGAIN);

    listener.open();
    const late = connect(ip, listener.port);
    expect(epoll.wait(0)).toBe(1);
    expect(epoll.fdAt(0)).toBe(late);
    epoll.remove(late);
    expect(epoll.wait(30_000)).toBe(1); // its SYN is repeated a second after the first
    expect(epoll.fdAt(0)).toBe(early);
    expect(sockets.pendingError(early)).toBe(0);
    for (let clients = 0; clients < 2; clients++) open.push(sockets.accept(listener.fd));
    expect(Math.min(...open)).toBeGreaterThan(0);
  });

  it('of UDP receives nothing until it is opened', async () => {
    const fd = datagrams.bind({ ip: '127.0.0.1', port: 0 }, 'test', {
      tellsLocal: false,
      bufferBytes: 4_096,
    });
    open.push(fd);
    const port = sockets.localPort(fd);
    const { address, bytes } = arena.carve(64);
    peer = createSocket('udp4');
    const sender = peer;
    const send = (text: string) =>
      new Promise<void>((resolve, reject) =>
        sender.send(text, port, '127.0.0.1', (error) => (error === null ? resolve() : reject(error))),
      );
    sender.bind(0, '127.0.0.1');
    await once(sender, 'listening');
    await send('early'); // over loopback it is delivered, or dropped, within the call
    expect(libc.read(fd, address, 64)).toBe(-1);
    expect(libc.errno()).toBe(EAGAIN);
    expect(datagrams.drops(fd)).toBe(1);
    datagrams.answer(fd);
    await send('later');
    expect(libc.read(fd, address, 64)).toBe(5);
    expect(bytes.toString('latin1', 0, 5)).toBe('later');
  });

  it('is nobody else’s, and leaves nothing behind when it is given up', () => {
    const first = openTcpListener(sockets, libc, { ip: '127.0.0.1', port: 0 });
    const request = { ip: '127.0.0.1', port: first.port };
    expect(() => openTcpListener(sockets, libc, request)).toThrow('port is already allocated');
    const early = connect('127.0.0.1', first.port);
    libc.close(first.fd);
    expect(sockets.pendingError(early)).toBe(0); // it was never answered, so it was never reset either
    const again = openTcpListener(sockets, libc, request);
    open.push(again.fd);
  });
});
