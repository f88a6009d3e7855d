/** The link of a shim whose transport is one stream that it has from its start. */
import type { Logger } from '../../shared/logger.ts';
import type { VmEndAddress } from '../../shared/transport/link-address.ts';
import { ownStdio } from '../../shared/transport/stdio.ts';
import type { HostLinks } from './host-links.ts';

/**
 * Serves the stream until it ends. Our stdin and stdout cannot come back, so that is the end of the shim.
 * @throws BridgeError UNSUPPORTED without such a stream; what establishing the link throws
 */
export async function serveVmEnd(
  _address: VmEndAddress,
  links: HostLinks,
  _log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const stream = ownStdio();
  signal.addEventListener('abort', () => stream.destroy(), { once: true });
  await links.serve(await links.establish(stream, false));
}
