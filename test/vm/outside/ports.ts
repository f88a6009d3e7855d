import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** A port of this machine that nobody has at any address, for TCP and UDP. */
export async function freePort(): Promise<number> {
  for (;;) {
    const tcp = createServer().listen(0, '::');
    await once(tcp, 'listening');
    const { port } = tcp.address() as { port: number };
    const udp = createSocket('udp6').bind(port);
    const free = await Promise.race([
      once(udp, 'listening').then(() => true),
      once(udp, 'error').then(() => false),
    ]);
    udp.close();
    tcp.close();
    if (free) return port;
  }
}

/** A port that this process has, at any address. */
export async function takePort(): Promise<{ port: number; release(): void }> {
  const server = createServer().listen(0, '0.0.0.0');
  await once(server, 'listening');
  return { port: (server.address() as { port: number }).port, release: () => server.close() };
}
