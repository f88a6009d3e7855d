import { BridgeError } from '../errors.ts';

/** Whether this is Windows, which has named pipes and knows no longest path of a socket. */
export const onWindows = process.platform === 'win32';

/** sockaddr_un holds 108 bytes on Linux and 104 elsewhere, one of them the final NUL (unix(7)). */
const LONGEST = process.platform === 'linux' ? 107 : 103;

/** @throws BridgeError BAD_REQUEST for the path of a socket that the system could not hold, naming the URL */
export function checkSocketPath(path: string, url: string): void {
  if (!onWindows && Buffer.byteLength(path) > LONGEST)
    throw new BridgeError('BAD_REQUEST', `"${url}": a socket's path may have ${LONGEST} bytes at the most`);
}
