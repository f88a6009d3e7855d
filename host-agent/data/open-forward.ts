import type { Destination } from '../../shared/destination.ts';
import type { Logger } from '../../shared/logger.ts';
import { formatSpec, type PortSpec } from '../../shared/port-spec.ts';
import { reserveTcp } from '../../shared/ports/reserve-tcp.ts';
import { reserveUdp } from '../../shared/ports/reserve-udp.ts';
import { reserveUnix } from '../../shared/ports/reserve-unix.ts';
import type { WildcardPorts } from '../../shared/ports/wildcard-ports.ts';
import type { DataLimits, Forward } from './forward.ts';
import type { HostEngine } from './linux/host-engine.ts';
import { StreamForward } from './stream-forward.ts';
import type { LinkSource } from './tunnel.ts';
import { UdpForward } from './udp-forward.ts';

export interface OpenForwardOptions {
  readonly links: LinkSource;
  readonly limits: DataLimits;
  readonly log: Logger;
  /** The VM, and the engine that carries its streams, where that is not this thread. */
  readonly vm: string;
  readonly engine: HostEngine | undefined;
  /** Takes TCP ports that are denied at one address only, on the portable engine. */
  readonly wildcard: WildcardPorts | undefined;
}

/**
 * Takes the host port of a spec and serves it.
 * @returns the forward and the spec with its port resolved
 * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED or IO; nothing is left open then
 */
export async function openForward(
  spec: PortSpec,
  options: OpenForwardOptions,
): Promise<{ resolved: PortSpec; forward: Forward }> {
  const { log, engine } = options;
  if (spec.protocol === 'unix') {
    const destination: Destination = { protocol: 'unix', path: spec.vmPath };
    const name = formatSpec(spec);
    if (engine !== undefined) {
      const listener = await engine.listenUnix(spec.hostPath);
      return { resolved: spec, forward: engine.serve(listener, { ...options, name, destination }) };
    }
    const reservation = await reserveUnix({ path: spec.hostPath, log });
    return { resolved: spec, forward: new StreamForward({ ...options, name, destination, reservation }) };
  }
  const where = { ip: spec.hostIp, port: spec.hostPort, log };
  const destination: Destination = { protocol: spec.protocol, ip: spec.vmIp, port: spec.vmPort };
  if (spec.protocol === 'tcp' && engine !== undefined) {
    const listener = engine.listenTcp(where);
    const resolved = { ...spec, hostPort: listener.port };
    const name = formatSpec(resolved);
    return { resolved, forward: engine.serve(listener, { ...options, name, destination }) };
  }
  if (spec.protocol === 'tcp') {
    const reservation = await reserveTcp({ ...where, wildcard: options.wildcard });
    const resolved = { ...spec, hostPort: reservation.port };
    const name = formatSpec(resolved);
    return { resolved, forward: new StreamForward({ ...options, name, destination, reservation }) };
  }
  if (engine !== undefined) {
    const bound = engine.datagrams.bind(where);
    const resolved = { ...spec, hostPort: bound.port };
    const name = formatSpec(resolved);
    return { resolved, forward: engine.datagrams.serve(bound, { ...options, name, destination }) };
  }
  const reservation = await reserveUdp(where);
  const resolved = { ...spec, hostPort: reservation.port };
  const name = formatSpec(resolved);
  return { resolved, forward: new UdpForward({ ...options, name, destination, reservation }) };
}
