import { type Destination, describeDestination } from '../destination.ts';
import { BridgeError, ERRNO, type ErrorCode, errnoName } from '../errors.ts';

const CODE_OF_ERRNO = new Map<number, ErrorCode>([
  [ERRNO.ECONNREFUSED, 'DIAL_REFUSED'],
  [ERRNO.ETIMEDOUT, 'DIAL_TIMEOUT'],
  [ERRNO.ENOBUFS, 'LIMIT_REACHED'],
  [ERRNO.ECONNABORTED, 'LINK_LOST'],
]);

/**
 * The error for what the other side says of a dial.
 * @param where that side is, for people: `in the VM`, `on the host`
 */
export function dialError(destination: Destination, errno: number, where: string): BridgeError {
  const code = CODE_OF_ERRNO.get(errno) ?? 'DIAL_FAILED';
  return new BridgeError(code, `${describeDestination(destination)} ${where}: ${errnoName(errno)}`, {
    errno,
  });
}
