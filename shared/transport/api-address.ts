import { isAbsolute, resolve } from 'node:path';
import { onWindows } from '../platform/choose.ts';
import type { PlainAddress } from './address.ts';
import { type PipeAddress, parsePipeName } from './npipe.ts';
import { checkSocketPath } from './socket-path.ts';

/** Where the HTTP API of the host agent is. */
export type ApiAddress = Extract<PlainAddress, { scheme: 'unix' }> | PipeAddress;

/**
 * Parses what --api says: the path of a unix socket, or on Windows a named pipe, as its URL or as `\\.\pipe\NAME`.
 * @throws BridgeError BAD_REQUEST for what this system cannot listen on
 */
export function parseApiAddress(text: string, windows = onWindows): ApiAddress {
  const pipe = parsePipeName(text, windows);
  if (pipe !== undefined) return pipe;
  const path = isAbsolute(text) ? text : resolve(text);
  checkSocketPath(path, path, windows);
  return { scheme: 'unix', path, url: `unix://${path}` };
}

/**
 * What a client of the API connects to, as node:net takes it: a path as it was given, or that of a named pipe.
 * @throws BridgeError BAD_REQUEST for a pipe elsewhere than on Windows, and there for anything else
 */
export function apiClientPath(text: string, windows = onWindows): string {
  if (windows) return parseApiAddress(text, windows).path;
  return parsePipeName(text, windows)?.path ?? text;
}
