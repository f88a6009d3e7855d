import { Socket } from 'node:net';

/** A connected TCP or unix socket that nobody watches as a Node socket: paused, half-open, with an error listener. */
export function adoptSocket(fd: number): Socket {
  const options = { fd, readable: true, writable: true, allowHalfOpen: true, pauseOnCreate: true };
  const stream = new Socket(options as ConstructorParameters<typeof Socket>[0]);
  stream.on('error', () => {}); // its peer may be gone by now; 'close' follows
  stream.pause();
  return stream;
}
