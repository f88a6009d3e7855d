import { type StreamServer, serveStreams } from './stream-server.ts';

/** Sends a greeting and resets the connection when its client has answered anything. */
export function resettingServer(greeting: string): Promise<StreamServer> {
  return serveStreams((socket) => {
    socket.write(greeting);
    socket.once('data', () => socket.resetAndDestroy());
  });
}
