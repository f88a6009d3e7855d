/** Stand-ins for containers: three small servers on free loopback ports, as a VM's network would have them. */
import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

const LOOPBACK = '127.0.0.1';

/** What the HTTP server answers. */
export const PAGE = 'Hello from a container.\n';

export interface Container {
  readonly protocol: 'tcp' | 'udp';
  readonly ip: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Serves PAGE on every path. */
export async function startHttpServer(): Promise<Container> {
  const server = createHttpServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(PAGE) });
    response.end(PAGE);
  });
  return listen(server, () => server.closeAllConnections());
}

/** Sends every datagram back. */
export async function startUdpEcho(): Promise<Container> {
  const socket = createSocket('udp4');
  socket.on('message', (payload, { port, address }) => socket.send(payload, port, address));
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(0, LOOPBACK, resolve);
  });
  const close = () => new Promise<void>((resolve) => socket.close(resolve));
  return { protocol: 'udp', ip: LOOPBACK, port: socket.address().port, close };
}

/** Keeps what it is sent, and sends it back only when the client has half-closed. */
export async function startUploadEcho(): Promise<Container> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks: Buffer[] = [];
    open.add(socket);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(chunks)));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => open.delete(socket));
  });
  return listen(server, () => {
    for (const socket of open) socket.destroy();
  });
}

async function listen(server: Server, endClients: () => void): Promise<Container> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, LOOPBACK, resolve);
  });
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      endClients();
    });
  return { protocol: 'tcp', ip: LOOPBACK, port: (server.address() as AddressInfo).port, close };
}
