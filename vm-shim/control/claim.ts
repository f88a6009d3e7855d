import { BridgeError } from '../../shared/errors.ts';
import { entryName, formatSpec, type PortSpec } from '../../shared/port-spec.ts';
import { type ClaimedPort, claimPort } from '../../shared/portfs/claim-port.ts';
import type { TransportAddress } from '../../shared/transport/address.ts';
import type { Bridge } from '../../shared/transport/bridge.ts';
import { dial } from '../../shared/transport/dial.ts';

/**
 * Publishes a port through a 9P control filesystem and holds its `ctl`. The claim lives as long as the
 * connection, so it ends with this process however that ends.
 * @param bridge for a URL that needs one
 * @throws BridgeError the server's refusal, or NO_LINK when nobody serves the tree there
 */
export async function claim(
  spec: PortSpec,
  control: TransportAddress,
  signal: AbortSignal,
  bridge?: Bridge,
): Promise<ClaimedPort> {
  const stream = await dial(control, signal, bridge);
  try {
    return await claimPort(stream, entryName(spec), formatSpec(spec), { signal });
  } catch (error) {
    stream.destroy();
    if (error instanceof BridgeError && error.code === 'ALREADY_EXISTS')
      throw new BridgeError('ALREADY_EXISTS', `${formatSpec(spec)} is claimed already`, { cause: error });
    throw error;
  }
}
