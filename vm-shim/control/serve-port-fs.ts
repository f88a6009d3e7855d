import type { Logger } from '../../shared/logger.ts';
import type { PortDoor } from '../../shared/portfs/door.ts';
import { PortServer } from '../../shared/portfs/port-server.ts';
import type { Scope } from '../../shared/scope.ts';
import type { TransportAddress } from '../../shared/transport/address.ts';
import { listen } from '../../shared/transport/listen.ts';

/** Serves the control filesystem inside the VM until the scope closes. @throws BridgeError as listening does */
export async function servePortFs(
  address: TransportAddress,
  door: PortDoor,
  log: Logger,
  scope: Scope,
): Promise<void> {
  const server = new PortServer({ log });
  const listener = await listen(address, 'vm', (stream) => void server.serve(stream, door), log);
  scope.defer(() => server.close());
  scope.defer(() => listener.close());
  log.info({ url: listener.url }, 'the control filesystem is served');
}
