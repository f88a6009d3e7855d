import { ERRNO } from '../../errors.ts';
import { AF_UNIX, AF_VSOCK } from './constants.ts';
import { familyOf } from './sockaddr.ts';

/** A full backlog is tried again this often, and for two seconds, milliseconds. */
export const RETRY_MS = 5;
export const MAX_RETRIES = 400;

/**
 * Whether a failed connect may only have met a full backlog. unix(7) has no queue for those who connect: EAGAIN, at
 * once. A vsock listener sends a reset (virtio_transport_recv_listen), just as where nobody listens.
 */
export function mayBeFull(sockaddr: Buffer, errno: number): boolean {
  const family = familyOf(sockaddr);
  return (
    (family === AF_UNIX && errno === ERRNO.EAGAIN) || (family === AF_VSOCK && errno === ERRNO.ECONNRESET)
  );
}
