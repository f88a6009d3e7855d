import { type StreamServer, serveStreams } from './stream-server.ts';

/** Sends back what it gets as it comes, and ends when its client ends. */
export function tcpEcho(where?: number | string): Promise<StreamServer> {
  return serveStreams((socket) => socket.pipe(socket), where);
}
