import type { Socket } from 'node:net';
import { connectionLimit } from '../shared/descriptors.ts';
import { chooseEngine, type EngineThreads } from '../shared/engine/choose.ts';
import { BridgeError } from '../shared/errors.ts';
import { Limit, limitCells } from '../shared/limit.ts';
import { LinkIdentity } from '../shared/link/identity.ts';
import { keepLinked } from '../shared/link/reconnect.ts';
import { tokenReader } from '../shared/link/token-file.ts';
import type { Logger } from '../shared/logger.ts';
import { Scope } from '../shared/scope.ts';
import { isPlainAddress } from '../shared/transport/address.ts';
import { bridgeFor } from '../shared/transport/choose.ts';
import { createDialer } from '../shared/transport/dial.ts';
import { isVmEnd } from '../shared/transport/link-address.ts';
import { listen } from '../shared/transport/listen.ts';
import type { Dialer } from '../shared/transport/transport.ts';
import type { ShimConfig } from './config.ts';
import { ClaimBook } from './control/claim-book.ts';
import { serveGatewayApi } from './control/gateway-api.ts';
import { HostLinks, type HostLinksOptions } from './control/host-links.ts';
import { ReverseListeners } from './control/reverse-listeners.ts';
import { servePortFs } from './control/serve-port-fs.ts';
import { serveVmEnd } from './control/vm-end.ts';
import { Acceptor } from './data/acceptor.ts';
import { AllowedDestinations } from './data/allowed-destinations.ts';
import type { Stoppable } from './data/incoming.ts';
import type { ShimEngine, ShimEngineOptions } from './data/linux/shim-engine.ts';
import { type SpareSource, SpareStreams } from './data/spare-streams.ts';

/** Connections that the shim carries at once, of all links. */
const MAX_CONNECTIONS = 16_384;

export interface Shim {
  /** Where it listens; undefined when it dials. */
  readonly url: string | undefined;
  /** The threads of the Linux engine; undefined with the portable one. */
  readonly threads: EngineThreads | undefined;
  /** Settles when there is nothing left to serve, where that can be: rejects when nobody was served. */
  readonly ended?: Promise<void>;
  /** Ends every link and connection. May be called twice. */
  close(): Promise<void>;
}

/** Composition root of the VM shim. @throws BridgeError when it cannot listen */
export async function startShim(config: ShimConfig, log: Logger): Promise<Shim> {
  const scope = new Scope();
  try {
    return await compose(config, log, scope);
  } catch (error) {
    await scope.close();
    throw error;
  }
}

async function compose(config: ShimConfig, log: Logger, scope: Scope): Promise<Shim> {
  const { signal } = scope;
  const { peerCids: peers } = config;
  const token = await tokenOf(config);
  const bridge = await bridgeFor([config.listen ?? config.connect!], log);
  if (bridge !== undefined) scope.defer(() => bridge.close());
  // A connection has at most one dedicated stream, which a bridge has two more for, and its container's socket.
  const most = connectionLimit(MAX_CONNECTIONS, bridge === undefined ? 2 : 4, log);
  const limit = new Limit('connections of the VM shim', most, log, limitCells());
  const context = {
    limit,
    counters: { bytesUp: 0, bytesDown: 0 },
    running: new Set<Stoppable>(),
    allowed: new AllowedDestinations(config.allowedDestinations, log),
    log,
  };
  const identity = new LinkIdentity('shim');
  const { legacyPeer, heartbeatMs } = config;
  // Workers listen on plain sockets only, and no worker carries the one stream that a VM has from its start.
  const plain = config.listen !== undefined && isPlainAddress(config.listen) ? config.listen : undefined;
  const oneStream = config.listen !== undefined && isVmEnd(config.listen);
  const start = oneStream ? undefined : await chooseEngine(config, log);
  const engine =
    start === undefined
      ? undefined
      : await startEngine({
          ...start,
          limit,
          allowed: config.allowedDestinations,
          onStream: (stream) => acceptor.accept(stream),
          log,
        });
  const claims = new ClaimBook({ log });
  const reverse = new ReverseListeners({ limit, running: context.running, log });
  const dialer = config.connect === undefined ? undefined : createDialer(config.connect, 'vm', bridge);
  const openSpares = (streamKey: Buffer, { dial }: Dialer<Socket>): SpareSource => {
    const { connect: to } = config;
    if (engine !== undefined && to !== undefined && isPlainAddress(to))
      return engine.openSpares(streamKey, to, bridge);
    return new SpareStreams({ streamKey, dial, accept: (stream) => acceptor.accept(stream), log });
  };
  const workers = engine === undefined ? {} : { keys: engine, carrier: engine.links };
  const links = new HostLinks({
    identity,
    legacyPeer,
    heartbeatMs,
    context,
    log,
    signal,
    claims,
    reverse,
    ...workers,
    ...token,
    ...(dialer === undefined ? {} : { spares: (streamKey) => openSpares(streamKey, dialer) }),
  });
  scope.defer(() => links.close());
  if (engine !== undefined) scope.defer(() => engine.close());
  // Closed before the links, so that the host hears of what is released.
  scope.defer(() => claims.close());
  scope.defer(() => reverse.close());
  if (config.portFs !== undefined) await servePortFs(config.portFs, claims, log, scope);
  if (config.gatewayApi !== undefined) await serveGatewayApi(config.gatewayApi, claims, log, scope);
  // Before the links go (cleanups run last first), so that the host hears of every reset.
  scope.defer(() => {
    const reason = new BridgeError('CANCELLED', 'the VM shim is stopping');
    for (const each of [...context.running]) each.stop(reason);
  });
  const acceptor = new Acceptor({
    ownerOf: (streamKey) => links.ownerOf(streamKey),
    onLink: (stream) => {
      links.establish(stream, false).then(
        (link) => links.serve(link),
        (error: Error) => links.admission.report(error),
      );
    },
    context,
    log,
  });
  scope.defer(() => acceptor.close());
  if (config.listen === undefined) {
    const running = keepLinked({
      dialer: dialer!,
      establish: (stream) => links.establish(stream, true),
      serve: (link) => links.serve(link),
      log,
      signal,
    });
    const close = async (): Promise<void> => {
      await scope.close();
      await running;
    };
    return { url: undefined, threads: engine?.pool, close };
  }
  if (isVmEnd(config.listen)) {
    const ended = serveVmEnd(config.listen, { links, log, signal, bridge });
    const settled = ended.catch(() => {});
    log.info({ url: config.listen.url }, 'the VM shim listens');
    const close = async (): Promise<void> => {
      await scope.close();
      await settled;
    };
    return { url: config.listen.url, threads: undefined, ended, close };
  }
  const listener =
    engine === undefined || plain === undefined
      ? await listen(config.listen, 'host', (stream) => acceptor.accept(stream), log, { peers, bridge })
      : await engine.listen(plain, { peers, bridge });
  scope.defer(() => listener.close());
  log.info({ url: listener.url }, 'the VM shim listens');
  return { url: listener.url, threads: engine?.pool, close: () => scope.close() };
}

/** Read once at the start, so that a file that is wrong is told at once. @throws BridgeError as reading it does */
async function tokenOf({ tokenFile }: ShimConfig): Promise<Pick<HostLinksOptions, 'readToken'>> {
  if (tokenFile === undefined) return {};
  const read = tokenReader(tokenFile);
  await read();
  return { readToken: read };
}

/** The engine is loaded only where it is wanted and works. */
async function startEngine(options: ShimEngineOptions): Promise<ShimEngine> {
  const { ShimEngine } = await import('./data/linux/shim-engine.ts');
  return new ShimEngine(options);
}
