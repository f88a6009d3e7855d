import type { Socket } from 'node:net';
import { connectionLimit } from '../shared/descriptors.ts';
import { chooseEngine, type EngineThreads } from '../shared/engine/choose.ts';
import { BridgeError } from '../shared/errors.ts';
import { Limit, limitCells } from '../shared/limit.ts';
import { LinkIdentity } from '../shared/link/identity.ts';
import { keepLinked } from '../shared/link/reconnect.ts';
import { StreamSorter } from '../shared/link/stream-sorter.ts';
import { tokenReader } from '../shared/link/token-file.ts';
import type { Logger } from '../shared/logger.ts';
import type { PortSpec } from '../shared/port-spec.ts';
import { PortServer } from '../shared/portfs/port-server.ts';
import { PortAllocator } from '../shared/ports/allocator.ts';
import { tcpLookAround } from '../shared/ports/other-listeners.ts';
import { WildcardPorts } from '../shared/ports/wildcard-ports.ts';
import type { Place, ReverseSpec } from '../shared/reverse-spec.ts';
import { Scope } from '../shared/scope.ts';
import { decodeSpareHead, MAX_SPARE_HEAD_BYTES, SPARE_MAGIC } from '../shared/spare-head.ts';
import { isPlainAddress } from '../shared/transport/address.ts';
import type { Bridge } from '../shared/transport/bridge.ts';
import { bridgeFor } from '../shared/transport/choose.ts';
import { dial } from '../shared/transport/dial.ts';
import { isHostEnd } from '../shared/transport/link-address.ts';
import { createLinkDialer } from '../shared/transport/link-dialer.ts';
import { type ListenOptions, listen } from '../shared/transport/listen.ts';
import { traitsOf } from '../shared/transport/traits.ts';
import type { HostConfig, VmAddress } from './config.ts';
import { serveApi } from './control/api.ts';
import { ForwardTable } from './control/forward-table.ts';
import { PermanentForwards } from './control/permanent-forwards.ts';
import { Policy } from './control/policy.ts';
import { portDoor } from './control/port-door.ts';
import { ReverseForwards } from './control/reverse-forwards.ts';
import { ShimClaims } from './control/shim-claims.ts';
import { StateFile } from './control/state/state-file.ts';
import { type StreamOpener, VmLink, type VmLinkOptions } from './control/vm-link.ts';
import type { HostEngine } from './data/linux/host-engine.ts';
import { openForward } from './data/open-forward.ts';
import { type AgentLimits, LIMITS, VmLimits } from './vm-limits.ts';

export interface Agent {
  /** Where shims and 9P clients are awaited, resolved. */
  readonly urls: readonly string[];
  /** The threads of the Linux engine; undefined with the portable one. */
  readonly threads: EngineThreads | undefined;
  /** Takes another policy: what it does not allow goes. What else a new configuration says needs a restart. */
  enforce(config: HostConfig): Promise<void>;
  /** Releases every forward, then ends every link. May be called twice. */
  close(): Promise<void>;
}

/** Composition root of the host agent. @throws BridgeError when it cannot listen; nothing is left open then */
export async function startAgent(config: HostConfig, log: Logger, limits = LIMITS): Promise<Agent> {
  const scope = new Scope();
  try {
    return { ...(await compose(config, log, limits, scope)), close: () => scope.close() };
  } catch (error) {
    await scope.close();
    throw error;
  }
}

async function compose(
  config: HostConfig,
  log: Logger,
  limits: AgentLimits,
  scope: Scope,
): Promise<Omit<Agent, 'close'>> {
  const { signal } = scope;
  const urlsOfAll = [...config.connect, ...config.listen, ...config.control];
  const bridge = await bridgeFor(
    urlsOfAll.map(({ address }) => address),
    log,
  );
  if (bridge !== undefined) scope.defer(() => bridge.close());
  // A connection has its client's socket and at most one dedicated stream, which a bridge has two more for.
  const most = connectionLimit(limits.connections, bridge === undefined ? 2 : 4, log);
  const connections = new Limit('connections of the host agent', most, log, limitCells());
  const engine = await startEngine(config, connections, log);
  if (engine !== undefined) scope.defer(() => engine.close());
  const identity = new LinkIdentity('host');
  const links = new Map<string, VmLink>();
  const vms = [...config.connect, ...config.listen].map(({ vm }) => vm);
  const policy = policyOf(config);
  const limitsOf = new Map(
    vms.map((vm) => {
      const options = { vm, alone: vms.length === 1, defaults: limits, connections, log };
      return [vm, new VmLimits(policy.of(vm).limits, options)];
    }),
  );
  const allocator = new PortAllocator(config.portRange);
  const wildcard = wildcardPorts(config, engine, log);
  const lookAround = engine === undefined ? tcpLookAround() : undefined;
  const open = (vm: string, spec: PortSpec, onState?: () => void) => {
    const common = { allocator, log, wildcard, lookAround, onState };
    return openForward(spec, { vm, engine, links: links.get(vm)!, limits: limitsOf.get(vm)!, ...common });
  };
  const reverse = new Map<string, ReverseForwards>();
  const openReverse = (vm: string, spec: ReverseSpec) => reverse.get(vm)!.open(spec);
  const table = new ForwardTable(open, log, policy, openReverse);
  for (const vm of vms) {
    const { legacyPeer, lane } = config.links.get(vm)!;
    const { heartbeatMs, graceMs } = config;
    const path = engine === undefined ? {} : { path: engine.pathOf(vm) };
    const claims = new ShimClaims({ table, vm, log, graceMs });
    const admit = (service: Place) => table.policy.admitService(vm, service);
    const whenUp = () => links.get(vm)!.whenUp(signal);
    reverse.set(vm, new ReverseForwards({ vm, limits: limitsOf.get(vm)!, admit, whenUp, log }));
    links.set(
      vm,
      new VmLink({
        name: vm,
        identity,
        legacyPeer,
        heartbeatMs,
        lane,
        log: log.child({ vm }),
        signal,
        claims,
        reverse: reverse.get(vm)!,
        ...path,
        ...(await tokenOf(config, vm)),
      }),
    );
  }
  const permanent = await restorePermanent(config, table, vms, log, scope);

  const urls: string[] = [];
  for (const { vm, address } of config.connect) connectVm(links.get(vm)!, address, log, scope, bridge);
  const optionsOf = (vm: string) => ({
    bridge,
    peers: config.peerCids.find((each) => each.vm === vm)?.peers,
  });
  for (const each of config.listen)
    urls.push(await listenForVm(links.get(each.vm)!, each, optionsOf(each.vm), log, scope));
  // Deferred behind the links, so that it is closed before them: clients are reset while the VM still hears of it.
  scope.defer(() => table.close());
  // Before the table: the next host agent takes over what is open in the VMs, so no shim is told to close it.
  scope.defer(() => {
    for (const each of reverse.values()) each.close();
  });
  for (const each of config.control) urls.push(await serveTree(table, each, optionsOf(each.vm), log, scope));
  if (config.api !== undefined) {
    const vms = () => [...links.values()].map(({ view }) => view);
    scope.defer(await serveApi(config.api, { table, permanent, vms, log }));
  }
  log.info({ vms: [...links.keys()], urls, api: config.api?.path }, 'the host agent is ready');
  const enforce = (changed: HostConfig): Promise<void> => {
    const next = policyOf({ ...changed, portRange: config.portRange }); // the allocator's, until a restart
    for (const [vm, each] of limitsOf) each.apply(next.of(vm).limits);
    return table.enforce(next);
  };
  return { urls, threads: engine?.pool, enforce };
}

function policyOf({ settings, unixDirectories, reverse, portRange }: HostConfig): Policy {
  return new Policy(settings, { unixDirectories, reverse, portRange });
}

/** Before a shim is heard: what is permanent has its ports first. */
async function restorePermanent(
  config: HostConfig,
  table: ForwardTable,
  vms: readonly string[],
  log: Logger,
  scope: Scope,
): Promise<PermanentForwards> {
  const state = config.state === undefined ? undefined : await StateFile.open(config.state, log);
  if (state !== undefined) scope.defer(() => state.close());
  if (state === undefined && config.api !== undefined)
    log.info('forwards made through the API end with this process: there is no --state');
  // Closed here as well, in case that the rest of the start fails.
  scope.defer(() => table.close());
  const permanent = new PermanentForwards({ table, state, vms, log });
  // At once, because what waits for a link fails then: that is nothing to warn of, or to try again.
  scope.signal.addEventListener('abort', () => {
    table.takeNoMore();
    permanent.close();
  });
  await permanent.restore();
  return permanent;
}

/** Read once at the start, so that a file that is wrong is told at once. @throws BridgeError as reading it does */
async function tokenOf(config: HostConfig, vm: string): Promise<Pick<VmLinkOptions, 'readToken'>> {
  const path = config.tokenFiles.find((each) => each.vm === vm)?.path;
  if (path === undefined) return {};
  const read = tokenReader(path);
  await read();
  return { readToken: read };
}

/** The engine is loaded only where it is wanted and works. */
async function startEngine(config: HostConfig, limit: Limit, log: Logger): Promise<HostEngine | undefined> {
  const start = await chooseEngine(config, log);
  if (start === undefined) return undefined;
  const { HostEngine } = await import('./data/linux/host-engine.ts');
  return new HostEngine({ ...start, limit, log });
}

function wildcardPorts(
  { wildcard }: HostConfig,
  engine: HostEngine | undefined,
  log: Logger,
): WildcardPorts | undefined {
  if (wildcard === undefined) return undefined;
  if (engine === undefined) return new WildcardPorts(wildcard);
  log.warn('--wildcard-privileged does nothing here: what Linux denies at one address, it denies at all');
  return undefined;
}

function connectVm(
  link: VmLink,
  address: HostConfig['connect'][number]['address'],
  log: Logger,
  scope: Scope,
  bridge: Bridge | undefined,
): void {
  const logOfVm = log.child({ vm: link.name });
  const dialer = createLinkDialer(address, logOfVm, bridge);
  const opener: StreamOpener = {
    traits: dialer.traits,
    dial: isHostEnd(address) ? cannotDial : (signal) => dial(address, signal, bridge),
    ...(isPlainAddress(address) ? { address } : {}),
  };
  const running = keepLinked({
    dialer,
    establish: (stream) => link.establish(stream, true, opener),
    serve: (up) => link.serve(up, opener),
    log: logOfVm,
    signal: scope.signal,
  });
  scope.defer(() => {
    link.close();
    return running;
  });
}

async function listenForVm(
  link: VmLink,
  each: VmAddress,
  options: ListenOptions,
  log: Logger,
  scope: Scope,
): Promise<string> {
  const onLink = (stream: Socket): void => {
    // A shim may be here before `listen` has answered.
    const traits = traitsOf(each.address, 'vm');
    const opener = { traits, dial: cannotDial, tcp: each.address.scheme === 'tcp' };
    link
      .establish(stream, false, opener)
      .then((up) => link.serve(up, opener))
      .catch((error: Error) => link.admission.report(error));
  };
  const sorter = new StreamSorter({
    kind: {
      magic: SPARE_MAGIC,
      what: 'a spare stream',
      maxBytes: MAX_SPARE_HEAD_BYTES,
      decode: decodeSpareHead,
    },
    onLink,
    onStream: (streamKey, stream) => link.addSpare(streamKey, stream),
    log: log.child({ vm: link.name }),
  });
  const accept = (stream: Socket): void => sorter.accept(stream);
  const listener = await listen(each.address, 'vm', accept, log, options);
  scope.defer(() => sorter.close());
  scope.defer(() => link.close());
  scope.defer(() => listener.close());
  return listener.url;
}

function cannotDial(): Promise<never> {
  return Promise.reject(new BridgeError('UNSUPPORTED', 'no more streams can be opened to this VM from here'));
}

async function serveTree(
  table: ForwardTable,
  each: VmAddress,
  options: ListenOptions,
  log: Logger,
  scope: Scope,
): Promise<string> {
  const { vm, address } = each;
  const server = new PortServer({ log: log.child({ vm }) });
  let connections = 0;
  const listener = await listen(
    address,
    'vm',
    (stream) => {
      connections++;
      void server.serve(stream, portDoor({ table, vm, owner: `9p:${vm}:${connections}`, log }));
    },
    log,
    options,
  );
  scope.defer(() => server.close());
  scope.defer(() => listener.close());
  return listener.url;
}
