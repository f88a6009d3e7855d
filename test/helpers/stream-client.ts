import { connect, type Socket } from 'node:net';

/** How a stream came to its end, as its reader sees it. */
export interface Fate {
  /** `end` for a clean one, else the error's code, e.g. `ECONNRESET`. */
  readonly how: string;
  /** What arrived before. */
  readonly bytes: number;
}

/** Connects to a loopback port or a unix socket; rejects with what connect(2) said. */
export function connectTo(where: number | string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const target = typeof where === 'string' ? { path: where } : { host: '127.0.0.1', port: where };
    const socket = connect({ ...target, allowHalfOpen: true, noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      socket.on('error', () => {}); // whoever wants to know asks fateOf
      resolve(socket);
    });
  });
}

/** Whether nobody listens on a port. */
export function refuses(port: number): Promise<boolean> {
  return connectTo(port).then(
    (socket) => !socket.destroy(),
    () => true,
  );
}

const NOTHING = Buffer.alloc(0);

/**
 * Reads to the end, dropping the bytes. A reset that comes together with data is reported as an end by some
 * versions of libuv (uv__stream_io, POLLHUP after a short read), so an end is believed only when a write of
 * nothing succeeds; a side that has half-closed itself cannot ask.
 */
export function fateOf(socket: Socket): Promise<Fate> {
  return new Promise((resolve) => {
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.on('end', () => {
      if (!socket.writable) return resolve({ how: 'end', bytes });
      socket.write(NOTHING, (error) => {
        if (error === null || error === undefined) resolve({ how: 'end', bytes });
      });
    });
    socket.on('error', (error: NodeJS.ErrnoException) =>
      resolve({ how: error.code ?? error.message, bytes }),
    );
    socket.on('close', () => resolve({ how: 'closed', bytes }));
  });
}

/** Connects, sends, and reads to the end. A reset may come so early that it is connecting that fails. */
export function fateOfNew(port: number, message = ''): Promise<Fate> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  if (message !== '') socket.write(message);
  return fateOf(socket);
}

/** Reads to a clean end. @throws what broke the stream */
export function readAll(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => resolve(Buffer.concat(chunks)));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed without an end')));
  });
}

/** Reads just so many bytes; the rest stays in the stream. @throws when it ends before */
export function readExactly(socket: Socket, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off('readable', look).off('end', ended).off('error', failed).off('close', ended);
    };
    const failed = (error: Error): void => {
      settle();
      reject(error);
    };
    const ended = (): void => failed(new Error(`ended before ${bytes} bytes had come`));
    const look = (): void => {
      const whole = socket.read(bytes) as Buffer | null;
      if (whole === null) return;
      settle();
      if (whole.length < bytes) reject(new Error(`ended after ${whole.length} of ${bytes} bytes`));
      else resolve(whole);
    };
    socket.on('readable', look).on('end', ended).on('error', failed).on('close', ended);
    look();
  });
}

/** One message and its echo on a connection of its own. */
export async function roundTrip(where: number | string, message: string): Promise<string> {
  const socket = await connectTo(where);
  try {
    socket.write(message);
    return (await readExactly(socket, Buffer.byteLength(message))).toString();
  } finally {
    socket.destroy();
  }
}
