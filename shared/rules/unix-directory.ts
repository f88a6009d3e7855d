/** Directories that unix sockets have to be in. */
import { isAbsolute, normalize } from 'node:path/posix';
import { BridgeError } from '../errors.ts';

/** @returns the directory without a slash at its end. @throws BridgeError BAD_REQUEST */
export function checkDirectory(text: string): string {
  if (!isAbsolute(text) || text.includes('\0') || text.split('/').includes('..'))
    throw new BridgeError('BAD_REQUEST', `${JSON.stringify(text)} is not an absolute path without ".."`);
  const directory = normalize(text);
  return directory.length > 1 && directory.endsWith('/') ? directory.slice(0, -1) : directory;
}

/** Whether a path names something in a directory or below it, by its text alone; a path with `..` never does. */
export function isBelow(directory: string, path: string): boolean {
  if (!isAbsolute(path) || path.includes('\0') || path.split('/').includes('..')) return false;
  const plain = normalize(path);
  const start = directory === '/' ? '/' : `${directory}/`;
  return plain.startsWith(start) && plain.length > start.length && !plain.endsWith('/');
}
