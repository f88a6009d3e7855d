import type { Destination } from '../../shared/destination.ts';
import { Limit, limitCells } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import { onePort } from '../../shared/port-range.ts';
import { formatSpec, type InetSpec, type PortSpec, type UnixSpec } from '../../shared/port-spec.ts';
import type { PortAllocator } from '../../shared/ports/allocator.ts';
import { bindAll } from '../../shared/ports/bind-all.ts';
import type { Endpoint } from '../../shared/ports/endpoints.ts';
import type { LookAround } from '../../shared/ports/other-listeners.ts';
import { reserveUnix } from '../../shared/ports/reserve-unix.ts';
import type { WildcardPorts } from '../../shared/ports/wildcard-ports.ts';
import type { DataLimits, Forward } from './forward.ts';
import { bindHostPort } from './host-port.ts';
import type { HostEngine } from './linux/host-engine.ts';
import { PortGroup } from './port-group.ts';
import { StreamForward } from './stream-forward.ts';
import type { LinkSource } from './tunnel.ts';

export interface OpenForwardOptions {
  readonly links: LinkSource;
  readonly limits: DataLimits;
  /** Chooses the host ports that a spec leaves open. */
  readonly allocator: PortAllocator;
  readonly log: Logger;
  /** The VM, and the engine that carries its streams, where that is not this thread. */
  readonly vm: string;
  readonly engine: HostEngine | undefined;
  /** Takes TCP ports that are denied at one address only, on the portable engine. */
  readonly wildcard: WildcardPorts | undefined;
  /** Where the system would let us take TCP ports that others have. */
  readonly lookAround: LookAround | undefined;
  /** Told when the `state` of the forward is another one. */
  readonly onState?: (() => void) | undefined;
}

interface Opened {
  readonly resolved: PortSpec;
  readonly forward: Forward;
}

/**
 * Takes all that a spec asks for on the host, and then serves it: nobody is let in before all of it was had.
 * @returns the forward and the spec with its ports resolved
 * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED or IO; nothing is left open then
 */
export function openForward(spec: PortSpec, options: OpenForwardOptions): Promise<Opened> {
  return spec.protocol === 'unix' ? openUnix(spec, options) : openInet(spec, options);
}

async function openInet(spec: InetSpec, options: OpenForwardOptions): Promise<Opened> {
  const { allocator, engine, log, lookAround, wildcard } = options;
  const settings = spec.options ?? {};
  const others = lookAround !== undefined && spec.protocol === 'tcp' ? await lookAround() : undefined;
  const bind = (endpoint: Endpoint) =>
    bindHostPort(endpoint, { engine, settings, log, wildcard, lookAround });
  const { resolved, ports } = await bindAll(spec, allocator, bind, others);
  const limit = connectionLimit(formatSpec(resolved), options);
  const forwards = ports.map(({ endpoint, bound }) => {
    const { protocol, ip, port, vmPort } = endpoint;
    const ends = { hostIps: [ip], hostPorts: onePort(port), vmPorts: onePort(vmPort) };
    const name = formatSpec({ ...resolved, ...ends });
    const destination: Destination = { protocol, ip: spec.vmIp, port: vmPort };
    return bound.serve({ settings, name, destination, limit, ...options });
  });
  return { resolved, forward: forwards.length === 1 ? forwards[0]! : new PortGroup(forwards, limit) };
}

async function openUnix(spec: UnixSpec, options: OpenForwardOptions): Promise<Opened> {
  const { engine, log } = options;
  const destination: Destination = { protocol: 'unix', path: spec.vmPath };
  const name = formatSpec(spec);
  const settings = spec.options ?? {};
  const serving = { settings, name, destination, limit: connectionLimit(name, options), ...options };
  if (engine !== undefined) {
    const listener = await engine.listenUnix(spec.hostPath);
    return { resolved: spec, forward: engine.serve(listener, serving) };
  }
  const { newConnections } = options.limits;
  const reservation = await reserveUnix({ path: spec.hostPath, log });
  return { resolved: spec, forward: new StreamForward({ reservation, newConnections, ...serving }) };
}

function connectionLimit(name: string, { limits, log }: OpenForwardOptions): Limit {
  return new Limit(`connections of ${name}`, limits.connectionsPerForward, log, limitCells());
}
