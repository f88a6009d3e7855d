import { BridgeError, messageOf } from '../errors.ts';
import { portCount, portsFrom } from '../port-range.ts';
import { hostEnd, type InetSpec } from '../port-spec.ts';
import { type Attempt, type PortAllocator, takeFrom } from './allocator.ts';
import { portInUse } from './bind-error.ts';
import { type Endpoint, endpointsFrom, isChoice } from './endpoints.ts';
import type { OtherListeners } from './other-listeners.ts';

/** A host port that is bound and answers nobody yet. */
export interface BoundPort {
  /** Gives it back. */
  release(): Promise<void>;
}

/** What was bound for a spec: all of it. */
export interface BoundSpec<Bound extends BoundPort> {
  /** With its host ports made out. */
  readonly resolved: InetSpec;
  readonly ports: ReadonlyArray<{ readonly endpoint: Endpoint; readonly bound: Bound }>;
}

/**
 * Binds every host port of a spec, or none: each of its ports at each of its addresses. What the spec leaves open is
 * chosen, the same ports at all addresses: port 0 by the allocator, and of a range that leads to one port in the VM the
 * first that is free. Ports that were asked for are tried once.
 * @param bind takes one port, which answers nobody before it is served. @throws BridgeError
 * @param others who have TCP ports that `bind` would take all the same; nothing is bound where they are in the way
 * @throws BridgeError what `bind` threw for the port that could not be had; PORT_IN_USE when there was none to choose
 */
export async function bindAll<Bound extends BoundPort>(
  spec: InetSpec,
  allocator: PortAllocator,
  bind: (endpoint: Endpoint) => Promise<Bound>,
  others?: OtherListeners,
): Promise<BoundSpec<Bound>> {
  const { hostPorts } = spec;
  const count = portCount(spec.vmPorts);
  const search = {
    what: hostEnd(spec),
    count,
    take: (first: number) => bindFrom(first, spec, bind, others),
  };
  if (hostPorts.first === 0) return allocator.allocate(search);
  if (isChoice(spec)) return takeFrom(hostPorts, search);
  const attempt = await search.take(hostPorts.first);
  if ('failed' in attempt) throw attempt.failed;
  return attempt.taken;
}

async function bindFrom<Bound extends BoundPort>(
  first: number,
  spec: InetSpec,
  bind: (endpoint: Endpoint) => Promise<Bound>,
  others: OtherListeners | undefined,
): Promise<Attempt<BoundSpec<Bound>>> {
  const endpoints = endpointsFrom(first, spec);
  const clash = others === undefined ? undefined : endpoints.find((endpoint) => others.has(endpoint));
  if (clash !== undefined) return { failed: portInUse(clash), port: clash.port };
  const ports: Array<{ endpoint: Endpoint; bound: Bound }> = [];
  for (const endpoint of endpoints) {
    try {
      ports.push({ endpoint, bound: await bind(endpoint) });
    } catch (error) {
      await Promise.all(ports.map(({ bound }) => bound.release()));
      const failed =
        error instanceof BridgeError ? error : new BridgeError('IO', messageOf(error), { cause: error });
      return { failed, port: endpoint.port };
    }
  }
  return { taken: { resolved: { ...spec, hostPorts: portsFrom(first, portCount(spec.vmPorts)) }, ports } };
}
