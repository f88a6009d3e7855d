import { BridgeError } from '../errors.ts';
import { onWindows } from '../platform/choose.ts';

/** sockaddr_un holds 108 bytes on Linux and 104 elsewhere, one of them the final NUL (unix(7)). */
const LONGEST = process.platform === 'linux' ? 107 : 103;

/**
 * @throws BridgeError BAD_REQUEST for the path of a socket that the system could not hold, naming the URL; on Windows, where
 *   Node takes paths of named pipes only (net, "Identifying paths for IPC connections"), for every one
 */
export function checkSocketPath(path: string, url: string, windows = onWindows): void {
  if (windows)
    throw new BridgeError(
      'BAD_REQUEST',
      `"${url}": on Windows Node has no unix sockets, but named pipes: npipe:////./pipe/NAME`,
    );
  if (Buffer.byteLength(path) > LONGEST)
    throw new BridgeError('BAD_REQUEST', `"${url}": a socket's path may have ${LONGEST} bytes at the most`);
}
