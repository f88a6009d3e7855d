import { portCount } from '../port-range.ts';
import type { InetSpec } from '../port-spec.ts';

/** One host port of a forward, and the port in the VM that it leads to. */
export interface Endpoint {
  readonly protocol: 'tcp' | 'udp';
  readonly ip: string;
  readonly port: number;
  readonly vmPort: number;
}

/** How many host ports a spec takes: at each address those that lead to different ports in the VM. */
export function endpointCount({ hostIps, vmPorts }: InetSpec): number {
  return hostIps.length * portCount(vmPorts);
}

/** Every host port that a spec takes when its first one is `first`, port by port. */
export function endpointsFrom(first: number, { protocol, hostIps, vmPorts }: InetSpec): Endpoint[] {
  const endpoints: Endpoint[] = [];
  for (let offset = 0; offset < portCount(vmPorts); offset++)
    for (const ip of hostIps)
      endpoints.push({ protocol, ip, port: first + offset, vmPort: vmPorts.first + offset });
  return endpoints;
}
