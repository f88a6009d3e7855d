import { type StreamServer, serveStreams } from './stream-server.ts';

/** Says nothing until its client has half-closed, and then sends all of it back. */
export function halfCloseEcho(where?: number | string): Promise<StreamServer> {
  return serveStreams((socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(chunks)));
  }, where);
}
