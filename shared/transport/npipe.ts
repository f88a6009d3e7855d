import { BridgeError, nodeErrno } from '../errors.ts';
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

/** Parses the URL of a named pipe. @throws BridgeError BAD_REQUEST, everywhere but on Windows too */
export function parsePipe(url: string, onWindows: boolean): PipeAddress {
  const match = /^npipe:\/\/\/\/\.\/pipe\/([^\\/\0]{1,240})$/.exec(url);
  if (match === null) throw new BridgeError('BAD_REQUEST', `"${url}" is not npipe:////./pipe/NAME`);
  if (!onWindows) throw new BridgeError('BAD_REQUEST', `"${url}": named pipes are for Windows only`);
  return { scheme: 'npipe', path: `\\\\.\\pipe\\${match[1]}`, url };
}

/**
 * Parses what names a pipe where others name the path of a socket: its URL, or `\\.\pipe\NAME` as Windows writes it.
 * @returns undefined for what is neither
 * @throws BridgeError BAD_REQUEST as parsePipe does
 */
export function parsePipeName(text: string, onWindows: boolean): PipeAddress | undefined {
  if (text.startsWith('npipe:')) return parsePipe(text, onWindows);
  const name = onWindows ? /^[\\/]{2}[.?][\\/]pipe[\\/]([^\\/\0]+)$/i.exec(text)?.[1] : undefined;
  return name === undefined ? undefined : parsePipe(`npipe:////./pipe/${name}`, onWindows);
}

/** Listens on a named pipe. @throws BridgeError PORT_IN_USE where somebody does; else the system's errors */
export async function reservePipe(path: string, log?: Logger): Promise<PortableStreamReservation> {
  const server = createStreamServer();
  try {
    await listen(server, { path });
    return reservationOf(server, path, 0, log);
  } catch (error) {
    server.close();
    // What libuv answers where there is a pipe of that name (uv_pipe_bind).
    if (nodeErrno(error) !== 'EADDRINUSE') throw error;
    const why = `Bind for ${path} failed: a process listens there`;
    throw new BridgeError('PORT_IN_USE', why, { cause: error });
  }
}
