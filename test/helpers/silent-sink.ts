import { type StreamServer, serveStreams } from './stream-server.ts';

/** Accepts and never reads. */
export function silentSink(): Promise<StreamServer> {
  return serveStreams((socket) => socket.pause());
}
