import { BridgeError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import {
  createStreamServer,
  listen,
  type PortableStreamReservation,
  reservationOf,
} from '../ports/listening.ts';

/** `npipe:////./pipe/NAME`, a named pipe of Windows. */
export interface PipeAddress {
  readonly scheme: 'npipe';
  /** As node:net takes it: `\\.\pipe\NAME`. */
  readonly path: string;
  readonly url: string;
}

/** @throws BridgeError BAD_REQUEST, everywhere but on Windows too */
export function parsePipe(url: string, onWindows: boolean): PipeAddress {
  const match = /^npipe:\/\/\/\/\.\/pipe\/([^\\/\0]{1,240})$/.exec(url);
  if (match === null) throw new BridgeError('BAD_REQUEST', `"${url}" is not npipe:////./pipe/NAME`);
  if (!onWindows) throw new BridgeError('BAD_REQUEST', `"${url}": named pipes are for Windows only`);
  return { scheme: 'npipe', path: `\\\\.\\pipe\\${match[1]}`, url };
}

/** Listens on a named pipe. @throws BridgeError as listening does */
export async function reservePipe(path: string, log?: Logger): Promise<PortableStreamReservation> {
  const server = createStreamServer();
  try {
    await listen(server, { path });
    return reservationOf(server, path, 0, log);
  } catch (error) {
    server.close();
    throw error;
  }
}
