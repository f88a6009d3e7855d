import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An HTTP server that names the method and the path it was asked for. */
export async function httpHello(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => response.end(`${request.method} ${request.url}`));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
