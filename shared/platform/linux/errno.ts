/** The one funnel by which a failed system call becomes a BridgeError: operation, address, name of the errno. */
import { BridgeError, ERRNO, type ErrorCode, errnoName } from '../../errors.ts';

/** Linux errno numbers that the engine decides by and that travel on no wire (asm-generic/errno.h). */
export const EINPROGRESS = 115;
export const ENOTCONN = 107;

const CODES = new Map<number, ErrorCode>([
  [ERRNO.ECONNREFUSED, 'DIAL_REFUSED'],
  [ERRNO.ETIMEDOUT, 'DIAL_TIMEOUT'],
  [ERRNO.ECONNRESET, 'RESET'],
  [ERRNO.EPIPE, 'RESET'],
  [ERRNO.EADDRINUSE, 'PORT_IN_USE'],
  [ERRNO.EADDRNOTAVAIL, 'ADDRESS_NOT_AVAILABLE'],
  [ERRNO.EACCES, 'PERMISSION_DENIED'],
  [ERRNO.EPERM, 'PERMISSION_DENIED'],
]);

/** ENOSPC is epoll_ctl's, where a user watches too much (max_user_watches, epoll(7)). */
const EXHAUSTION = new Set<number>([ERRNO.EMFILE, ERRNO.ENFILE, ERRNO.ENOBUFS, ERRNO.ENOMEM, ERRNO.ENOSPC]);

/**
 * @param operation the system call
 * @param address what it was about, for people
 * @returns an error whose cause carries `code` as Node's own errors do
 */
export function systemError(operation: string, address: string, errno: number): BridgeError {
  const name = errnoName(errno);
  const cause = Object.assign(new Error(`${operation} ${name}`), { code: name, syscall: operation });
  return new BridgeError(CODES.get(errno) ?? 'IO', `${operation} ${address}: ${name}`, { errno, cause });
}

/** Whether a call failed because this process, or the machine, has no more of something; it passes. */
export function isExhaustion(errno: number): boolean {
  return EXHAUSTION.has(errno);
}
