/** A port whose request is refused was never answered, however hard a client tries. */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callApi } from '../helpers/api.ts';
import { engines } from '../helpers/engines.ts';
import { portRow } from '../helpers/port-row.ts';
import { loopback, Pair, until } from '../helpers/processes.ts';
import { roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';
import { udpPeer } from '../helpers/udp-peer.ts';

/** Some clients that each connect again as soon as their last try is over. */
class Hammer {
  refused = 0;
  connected = 0;
  private stopped = false;
  private readonly running: Promise<unknown>;

  /** A client that came while the port was bound is not answered, and tries on a second later: so there are several. */
  constructor(port: number, clients = 8) {
    this.running = Promise.all(Array.from({ length: clients }, () => this.run(port)));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  private async run(port: number): Promise<void> {
    while (!this.stopped) {
      const socket = connect(port, '127.0.0.1');
      socket.on('connect', () => {
        this.connected++;
        socket.resetAndDestroy();
      });
      socket.on('error', () => {
        this.refused++;
      });
      await once(socket, 'close').catch(() => {});
    }
  }
}

/** A port that is bound and not listened on, so that taking it fails and connecting to it does as well. */
async function boundPort(): Promise<{ port: number; leave: () => void }> {
  const { loadLibc } = await import('../../shared/platform/linux/libc.ts');
  const { Arena } = await import('../../shared/platform/linux/arena.ts');
  const { Sockets } = await import('../../shared/platform/linux/sockets.ts');
  const { encodeSockaddr } = await import('../../shared/platform/linux/sockaddr.ts');
  const libc = await loadLibc();
  const arena = new Arena(libc, 4_096);
  const sockets = new Sockets(libc, arena);
  const address = encodeSockaddr({ family: 'ip', ip: '127.0.0.1', port: 0 });
  const name = arena.carve(address.length);
  name.bytes.set(address);
  const fd = sockets.open(address);
  expect(libc.bind(fd, name.address, address.length)).toBe(0);
  return { port: sockets.localPort(fd), leave: () => libc.close(fd) };
}

describe.skipIf(!engines.includes('linux'))('a refused request', () => {
  let pair: Pair;
  let echo: StreamServer;

  beforeAll(async () => {
    pair = await Pair.start('dedicated', 'linux');
    echo = await tcpEcho();
  });

  afterAll(async () => {
    await pair?.close();
    await echo?.close();
  });

  it('has let no client connect', async () => {
    const taken = await boundPort();
    const hammer = new Hammer(taken.port);
    const spec = loopback('tcp', echo.port, taken.port);
    try {
      let attempts = 0;
      await until('tries of the client among refused requests', async () => {
        const { body } = await callApi(pair.api, 'POST', { spec });
        expect(body).toMatchObject({ code: 'PORT_IN_USE' });
        return ++attempts >= 15 && hammer.refused >= 300;
      });
      expect(hammer.connected).toBe(0);
      taken.leave();
      await pair.expose(spec);
      await until('the client to be let in', () => hammer.connected > 0);
    } finally {
      await hammer.stop();
    }
    expect(await roundTrip(taken.port, 'served')).toBe('served');
  });

  it('has let no client connect to the first of many ports while the last one is taken', async () => {
    const ports = 100;
    const free = await portRow('tcp', ports);
    await free.close();
    const last = free.first + ports - 1;
    const taken = await tcpEcho(last);
    const hammer = new Hammer(free.first);
    const range = `${free.first}-${last}`;
    const spec = `tcp:127.0.0.1:${range}:tcp:127.0.0.1:${range}`;
    try {
      let attempts = 0;
      await until('tries of the client among refused requests', async () => {
        const { body } = await callApi(pair.api, 'POST', { spec });
        const message = expect.stringContaining(
          `Bind for 127.0.0.1:${last} failed: port is already allocated`,
        );
        expect(body).toEqual({ code: 'PORT_IN_USE', message });
        return ++attempts >= 15 && hammer.refused >= 100;
      });
      expect(hammer.connected).toBe(0);
      await taken.close();
      await pair.expose(spec);
      await until('the client to be let in', () => hammer.connected > 0);
    } finally {
      await hammer.stop();
      await taken.close();
    }
  });

  it('has taken no datagram', async () => {
    const peer = await udpPeer();
    const taken: DatagramSocket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(taken, 'listening');
    const heard: string[] = [];
    taken.on('message', (message) => heard.push(`${message}`));
    const spec = loopback('udp', peer.port, taken.address().port);
    const sender = createSocket('udp4');
    try {
      for (let attempt = 0; attempt < 20; attempt++) {
        sender.send(`${attempt}`, taken.address().port, '127.0.0.1');
        const { body } = await callApi(pair.api, 'POST', { spec });
        expect(body).toMatchObject({ code: 'PORT_IN_USE' });
      }
      await until('every datagram where it belongs', () => heard.length === 20);
    } finally {
      sender.close();
      taken.close();
      await peer.close();
    }
  });
});
