/** Stand-in containers at ports of loopback in a row, each of which answers with the number of its port. */
import { createSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import { serveStreams } from './stream-server.ts';
import { udpPeer } from './udp-peer.ts';

export interface PortRow {
  readonly first: number;
  /** Closes the one at the first port. */
  closeFirst(): Promise<void>;
  close(): Promise<void>;
}

/** Between those of lastingPort and of host agents (PORT_RANGE), so that those in a row are mostly free. */
const FROM = 16_384;
const PORTS = 8_192;

/**
 * Servers at `count` ports in a row, wherever they are free.
 * @param onClient what TCP servers do instead of answering and closing
 */
export async function portRow(
  protocol: 'tcp' | 'udp',
  count: number,
  onClient = (socket: Socket, port: number): void => void socket.end(String(port)),
): Promise<PortRow> {
  for (;;) {
    const first = FROM + Math.floor(Math.random() * (PORTS - count));
    const servers: Array<{ close(): Promise<void> }> = [];
    const close = async (): Promise<void> => {
      await Promise.all(servers.map((server) => server.close()));
    };
    try {
      for (let port = first; port < first + count; port++)
        servers.push(
          protocol === 'tcp'
            ? await serveStreams((socket) => onClient(socket, port), port)
            : await udpPeer(port, (_payload, from, socket) =>
                socket.send(String(port), from.port, from.address, () => {}),
              ),
        );
      return { first, close, closeFirst: () => servers.shift()!.close() };
    } catch {
      await close(); // somebody has one of them
    }
  }
}

/** What the container behind a host port says. @throws when the stream breaks, or no datagram comes back */
export function ask(protocol: 'tcp' | 'udp', ip: string, port: number): Promise<string> {
  return protocol === 'tcp' ? askStream(ip, port) : askDatagram(ip, port);
}

function askStream(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect({ host, port });
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}

function askDatagram(ip: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4');
    const again = setInterval(() => socket.send('?', port, ip, () => {}), 200);
    const late = setTimeout(() => done(() => reject(new Error(`no answer from ${ip} ${port}`))), 30_000);
    const done = (settle: () => void): void => {
      clearInterval(again);
      clearTimeout(late);
      socket.close();
      settle();
    };
    socket.once('message', (answer) => done(() => resolve(String(answer))));
    socket.once('error', (error) => done(() => reject(error)));
    socket.send('?', port, ip, () => {});
  });
}

/** Whether this machine has ::1. */
export function hasIpv6(): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '::1', port: 0 }, () => server.close(() => resolve(true)));
  });
}
