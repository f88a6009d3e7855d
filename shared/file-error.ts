import { BridgeError, messageOf, nodeErrno } from './errors.ts';

/**
 * Why a file could not be opened, read or made.
 * @param what what was tried, with the path
 * @returns NOT_FOUND, PERMISSION_DENIED or IO
 */
export function fileError(error: unknown, what: string): BridgeError {
  switch (nodeErrno(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new BridgeError('NOT_FOUND', `${what}: there is no such file or directory`, { cause: error });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new BridgeError('PERMISSION_DENIED', `${what}: permission denied`, { cause: error });
    case 'EISDIR':
      return new BridgeError('IO', `${what}: it is a directory`, { cause: error });
    default:
      return new BridgeError('IO', `${what}: ${messageOf(error)}`, { cause: error });
  }
}
