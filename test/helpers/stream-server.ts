import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';

/** A stand-in container: a server on a loopback port or a unix socket, half-open, that remembers its clients. */
export interface StreamServer {
  /** 0 for a unix socket. */
  readonly port: number;
  /** How many clients came, ever. */
  readonly accepted: () => number;
  /** The clients that are there now. */
  readonly sockets: ReadonlySet<Socket>;
  /** Resets what is left and stops listening. */
  close(): Promise<void>;
}

/** @param where a port to take (0 is any free one), or the path of a unix socket */
export async function serveStreams(
  onClient: (socket: Socket) => void,
  where: number | string = 0,
): Promise<StreamServer> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    accepted++;
    sockets.add(socket);
    socket.on('error', () => {}); // 'close' follows; who wants to know why listens as well
    socket.on('close', () => sockets.delete(socket));
    onClient(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const options = typeof where === 'string' ? { path: where } : { host: '127.0.0.1', port: where };
    server.listen({ ...options, backlog: 2_048 }, () => resolve());
  });
  const address = server.address() as AddressInfo | string;
  return {
    port: typeof address === 'string' ? 0 : address.port,
    accepted: () => accepted,
    sockets,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // A destroyed TCP socket with nothing left to read ends with a FIN, which is no reset.
        for (const socket of sockets) {
          if (typeof where === 'number') socket.resetAndDestroy();
          else socket.destroy();
        }
      }),
  };
}
