/** What the kernel makes of a socket that is bound and taken out of listening, at every kind of address. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Libc } from '../../../../shared/platform/linux/libc.ts';
import type { Listener } from '../../../../shared/platform/linux/open-listener.ts';
import type { Sockets } from '../../../../shared/platform/linux/sockets.ts';
import { engines, whyNotLinux } from '../../../helpers/engines.ts';

const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ family }) => family === 'IPv6'),
);
const addresses = ['127.0.0.1', '0.0.0.0', ...(hasIpv6 ? ['::1', '::'] : [])];

describe.skipIf(!engines.includes('linux'))(`a port that waits (${whyNotLinux ?? 'Linux'})`, () => {
  let libc: Libc;
  let sockets: Sockets;
  let listener: Listener;

  beforeEach(async () => {
    const { loadLibc } = await import('../../../../shared/platform/linux/libc.ts');
    const { Arena } = await import('../../../../shared/platform/linux/arena.ts');
    const { Sockets } = await import('../../../../shared/platform/linux/sockets.ts');
    libc = await loadLibc();
    sockets = new Sockets(libc, new Arena(libc, 4096));
  });
  afterEach(() => void libc.close(listener.fd));

  /** What becomes of a client. @param keep leaves it connected */
  async function clientOf(ip: string, keep = false): Promise<string> {
    const host = ip === '0.0.0.0' ? '127.0.0.1' : ip === '::' ? '::1' : ip;
    const socket = connect({ host, port: listener.port });
    const how = await once(socket, 'connect').then(
      () => 'connected',
      (error: NodeJS.ErrnoException) => error.code!,
    );
    if (how !== 'connected') return how;
    const accepted = sockets.accept(listener.fd);
    const close = async (): Promise<void> => {
      libc.close(accepted); // our end closes first, and so is in TIME_WAIT
      const gone = once(socket.resume(), 'close');
      socket.end();
      await gone;
    };
    if (keep) kept.push(close);
    else await close();
    return how;
  }
  const kept: (() => Promise<void>)[] = [];
  afterEach(() => Promise.all(kept.splice(0).map((close) => close())));

  /** Whether somebody else, who sets SO_REUSEADDR as Node does, can have the port. */
  async function othersGet(ip: string): Promise<string> {
    const server = createServer();
    const how = await once(
      server.listen({ port: listener.port, host: ip, ipv6Only: true }),
      'listening',
    ).then(
      () => 'the port',
      (error: NodeJS.ErrnoException) => error.code!,
    );
    server.close();
    return how;
  }

  it.each(addresses)('refuses clients and keeps its port at %s', async (ip) => {
    const { openTcpListener, openWaitingTcpListener } = await import(
      '../../../../shared/platform/linux/open-listener.ts'
    );
    const { fd, port } = openTcpListener(sockets, libc, { ip, port: 0 });
    libc.close(fd);
    listener = openWaitingTcpListener(sockets, libc, { ip, port });
    listener.open();
    for (const keep of [false, true, false]) {
      expect([await clientOf(ip), await othersGet(ip)]).toEqual(['ECONNREFUSED', 'EADDRINUSE']);
      sockets.listenAgain(listener.fd, 'a port');
      expect([await clientOf(ip, keep), await othersGet(ip)]).toEqual(['connected', 'EADDRINUSE']);
      sockets.stopListening(listener.fd);
    }
    expect([await clientOf(ip), await othersGet(ip)]).toEqual(['ECONNREFUSED', 'EADDRINUSE']);
  });
});
