import { type StreamServer, serveStreams } from './stream-server.ts';
import { receiveBytes } from './test-bytes.ts';

/** Answers an upload, once it has ended, with the SHA-256 of it in 64 digits. */
export function digestServer(): Promise<StreamServer> {
  return serveStreams((socket) => {
    receiveBytes(socket).then(
      ({ digest }) => socket.end(digest),
      () => {}, // who was cut off gets no answer
    );
  });
}
