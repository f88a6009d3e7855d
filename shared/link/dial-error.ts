import { type Destination, describeDestination } from '../destination.ts';
import { BridgeError, ERRNO, type ErrorCode, errnoName } from '../errors.ts';

const CODE_OF_ERRNO = new Map<number, ErrorCode>([
  [ERRNO.ECONNREFUSED, 'DIAL_REFUSED'],
  [ERRNO.ETIMEDOUT, 'DIAL_TIMEOUT'],
  [ERRNO.ENOBUFS, 'LIMIT_REACHED'],
  [ERRNO.ECONNABORTED, 'LINK_LOST'],
]);

/** The code of a dial that failed with an errno number. */
export function dialCode(errno: number): ErrorCode {
  return CODE_OF_ERRNO.get(errno) ?? 'DIAL_FAILED';
}

/**
 * The error for what the other side says of a dial.
 * @param where that side is, for people: `in the VM`, `on the host`
 */
export function dialError(destination: Destination, errno: number, where: string): BridgeError {
  return new BridgeError(
    dialCode(errno),
    `${describeDestination(destination)} ${where}: ${errnoName(errno)}`,
    {
      errno,
    },
  );
}
