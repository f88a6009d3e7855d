import { nodeErrno } from '../../errors.ts';
import type { VsockAddress } from '../../transport/address.ts';
import { vsockListenError } from '../../transport/vsock-error.ts';
import type { Listener } from './open-listener.ts';
import type { Sockets } from './sockets.ts';

/** @throws BridgeError as vsockListenError has it */
export function openVsockListener(sockets: Sockets, address: VsockAddress): Listener {
  const { cid, port, url } = address;
  try {
    const fd = sockets.openListener({ family: 'vsock', cid, port }, url);
    return { fd, tcp: false, port: 0, open() {}, leave() {} };
  } catch (error) {
    const { cause } = error as { cause?: unknown };
    throw vsockListenError(address, nodeErrno(cause) ?? 'an unknown error', error);
  }
}
