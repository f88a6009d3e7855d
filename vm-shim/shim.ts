import { connectionLimit } from '../shared/descriptors.ts';
import { BridgeError } from '../shared/errors.ts';
import { Limit } from '../shared/limit.ts';
import { LinkIdentity } from '../shared/link/link.ts';
import { keepLinked } from '../shared/link/reconnect.ts';
import type { Logger } from '../shared/logger.ts';
import { Scope } from '../shared/scope.ts';
import { createDialer } from '../shared/transport/dial.ts';
import { listen } from '../shared/transport/listen.ts';
import type { ShimConfig } from './config.ts';
import { HostLinks } from './control/host-links.ts';
import { Acceptor } from './data/acceptor.ts';
import type { Stoppable } from './data/incoming.ts';

/** Connections that the shim carries at once, of all links. */
const MAX_CONNECTIONS = 16_384;

export interface Shim {
  /** Where it listens; undefined when it dials. */
  readonly url: string | undefined;
  /** Ends every link and connection. May be called twice. */
  close(): Promise<void>;
}

/** Composition root of the VM shim. @throws BridgeError when it cannot listen */
export async function startShim(config: ShimConfig, log: Logger): Promise<Shim> {
  const scope = new Scope();
  const { signal } = scope;
  const context = {
    // A connection has at most one dedicated stream and its container's socket.
    limit: new Limit('connections of the VM shim', connectionLimit(MAX_CONNECTIONS, 2, log), log),
    counters: { bytesUp: 0, bytesDown: 0 },
    running: new Set<Stoppable>(),
    log,
  };
  const identity = new LinkIdentity('shim');
  const links = new HostLinks({ identity, legacyPeer: config.legacyPeer, context, log, signal });
  scope.defer(() => links.close());
  // Before the links go (cleanups run last first), so that the host hears of every reset.
  scope.defer(() => {
    const reason = new BridgeError('CANCELLED', 'the VM shim is stopping');
    for (const each of [...context.running]) each.stop(reason);
  });
  if (config.connect !== undefined) {
    const dialer = createDialer(config.connect, 'vm');
    const running = keepLinked({
      dialer,
      establish: (stream) => links.establish(stream, true),
      serve: (link) => links.serve(link),
      log,
      signal,
    });
    const close = async (): Promise<void> => {
      await scope.close();
      await running;
    };
    return { url: undefined, close };
  }
  const acceptor = new Acceptor({
    ownerOf: (streamKey) => links.ownerOf(streamKey),
    onLink: (stream) => {
      links.establish(stream, false).then(
        (link) => links.serve(link),
        (error: Error) => log.warn(`link refused: ${error.message}`),
      );
    },
    context,
    log,
  });
  scope.defer(() => acceptor.close());
  const listener = await listen(config.listen!, 'host', (stream) => acceptor.accept(stream), log);
  scope.defer(() => listener.close());
  log.info({ url: listener.url }, 'the VM shim listens');
  return { url: listener.url, close: () => scope.close() };
}
