import { once } from 'node:events';
import type { Socket } from 'node:net';
import { BridgeError } from '../../../errors.ts';
import { F_DUPFD_CLOEXEC } from '../constants.ts';
import { systemError } from '../errno.ts';
import type { Libc } from '../libc.ts';

/**
 * Takes the stream out of a paused Node socket, which is destroyed; the peer notices nothing. A socket that it cannot be
 * taken out of is left to the caller, and is only good to be ended.
 * @returns a descriptor that is the caller's, and what was read from the stream already
 * @throws BridgeError LINK_LOST when the stream is gone, IO when it has no descriptor or there is none left
 */
export async function takeSocket(libc: Libc, socket: Socket): Promise<{ fd: number; early: Buffer }> {
  socket.on('error', () => {}); // told by what the descriptor says
  if (socket.writableLength > 0) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
  // Nothing is awaited from here on, so that Node reads nothing that would be lost.
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  if (socket.destroyed || handle === null || handle === undefined)
    throw new BridgeError('LINK_LOST', 'the peer closed the link');
  if (handle.fd === undefined || handle.fd < 0)
    throw new BridgeError('IO', 'the stream of the link has no descriptor');
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) break;
    chunks.push(chunk);
  }
  const fd = libc.fcntl(handle.fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) throw systemError('fcntl', 'the stream of a link', libc.errno());
  socket.destroy();
  return { fd, early: Buffer.concat(chunks) };
}
