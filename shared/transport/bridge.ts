import type { Socket } from 'node:net';
import { BridgeError } from '../errors.ts';
import type { VsockAddress } from './address.ts';
import type { PeerCids } from './peer-cids.ts';

/**
 * Streams over descriptors that Node cannot use, as Node sockets: a thread passes their bytes on to and from one end of
 * a pair of unix sockets, of which Node has the other. Ends travel one at a time. As on a unix socket, closing both
 * directions before the other end has ended is an abort, and is seen as such: a write fails.
 */
export interface Bridge {
  /** @throws BridgeError NO_LINK, PERMISSION_DENIED, UNSUPPORTED, CANCELLED or IO, naming the URL */
  dial(address: VsockAddress, signal: AbortSignal): Promise<Socket>;
  /**
   * Streams arrive paused and half-open.
   * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED, UNSUPPORTED or IO
   */
  listen(
    address: VsockAddress,
    peers: PeerCids,
    onStream: (stream: Socket) => void,
  ): { close(): Promise<void> };
  /** Takes over an open character device, which may have nobody at its other end and is kept through that. */
  device(fd: number): Socket;
  /** Takes over a connected vsock descriptor that nobody watches. @throws BridgeError when descriptors have run out */
  adopt(fd: number): Socket;
  /** Ends the thread, and with it every stream. What was written before its socket was closed goes out first. */
  close(): Promise<void>;
}

/** @throws BridgeError UNSUPPORTED where nobody has opened a bridge */
export function needBridge({ url }: { readonly url: string }, bridge: Bridge | undefined): Bridge {
  if (bridge !== undefined) return bridge;
  throw new BridgeError('UNSUPPORTED', `${url} needs a bridge, which only Linux has`);
}
