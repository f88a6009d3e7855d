import type { Destination } from '../../shared/destination.ts';
import type { Logger } from '../../shared/logger.ts';
import { formatSpec, type PortSpec } from '../../shared/port-spec.ts';
import { reserveTcp } from '../../shared/ports/reserve-tcp.ts';
import { reserveUdp } from '../../shared/ports/reserve-udp.ts';
import { reserveUnix } from '../../shared/ports/reserve-unix.ts';
import type { DataLimits, Forward } from './forward.ts';
import { StreamForward } from './stream-forward.ts';
import type { LinkSource } from './tunnel.ts';
import { UdpForward } from './udp-forward.ts';

export interface OpenForwardOptions {
  readonly links: LinkSource;
  readonly limits: DataLimits;
  readonly log: Logger;
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
  const { log } = options;
  if (spec.protocol === 'unix') {
    const reservation = await reserveUnix({ path: spec.hostPath, log });
    const destination: Destination = { protocol: 'unix', path: spec.vmPath };
    const name = formatSpec(spec);
    return { resolved: spec, forward: new StreamForward({ ...options, name, destination, reservation }) };
  }
  const where = { ip: spec.hostIp, port: spec.hostPort, log };
  const destination: Destination = { protocol: spec.protocol, ip: spec.vmIp, port: spec.vmPort };
  if (spec.protocol === 'tcp') {
    const reservation = await reserveTcp(where);
    const resolved = { ...spec, hostPort: reservation.port };
    const name = formatSpec(resolved);
    return { resolved, forward: new StreamForward({ ...options, name, destination, reservation }) };
  }
  const reservation = await reserveUdp(where);
  const resolved = { ...spec, hostPort: reservation.port };
  const name = formatSpec(resolved);
  return { resolved, forward: new UdpForward({ ...options, name, destination, reservation }) };
}
