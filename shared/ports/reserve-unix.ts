import type { Logger } from '../logger.ts';
import { createStreamServer, listen, type PortableStreamReservation, reservationOf } from './listening.ts';
import { PrivateDirectory } from './private-directory.ts';
import { placeSocket, removeIfSame } from './unix-path.ts';

/**
 * Listens on a unix socket that only its owner may connect to (mode 0600). A socket that a dead process of ours left
 * behind is replaced; anything else at the path is refused and stays. close() takes the path away if it is still ours.
 * @param request an absolute path
 * @throws BridgeError PORT_IN_USE when the path is taken, NOT_FOUND when its directory is missing, PERMISSION_DENIED,
 *   BAD_REQUEST when the path is too long, or IO
 */
export async function reserveUnix(request: {
  readonly path: string;
  readonly log?: Logger;
}): Promise<PortableStreamReservation> {
  const { path, log } = request;
  const server = createStreamServer();
  let reservation: PortableStreamReservation | undefined;
  let leave = (): void => {};
  try {
    leave = await listenInPlace(path, async (name) => {
      await listen(server, { path: name });
      // Clients come as soon as the path is in its place: somebody has to take them from then on.
      reservation = reservationOf(server, path, 0, log, () => leave());
    });
    return reservation!;
  } catch (error) {
    server.close();
    throw error;
  }
}

/**
 * Makes the socket file of a listener that somebody else binds.
 * @param listenAt binds and listens at the name that it is given
 * @returns what takes the path away again, if it is still ours
 * @throws BridgeError as reserveUnix does; what `listenAt` opened is the caller's to close
 */
export async function listenInPlace(
  path: string,
  listenAt: (name: string) => void | Promise<void>,
): Promise<() => void> {
  // The mode of a socket file comes from the umask, which is the whole process's. Bound in a directory of mode 0700 and
  // linked into place when its mode is right, it is never open to others. A link, unlike a rename, refuses to replace
  // what is there. And libuv, which unlinks the name it bound when it closes, finds nothing under that name.
  const directory = await PrivateDirectory.beside(path);
  try {
    await listenAt(await directory.socketName());
    const identity = await placeSocket(directory, path);
    return () => removeIfSame(path, identity);
  } catch (error) {
    throw directory.errorFor(error);
  } finally {
    await directory.remove();
  }
}
