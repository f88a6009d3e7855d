import { ipsOverlap } from '../ip.ts';
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

/** Whether a spec leaves its host ports to us: port 0, or any one of a range. */
export function isChoice({ hostPorts, vmPorts }: InetSpec): boolean {
  return hostPorts.first === 0 || portCount(hostPorts) > portCount(vmPorts);
}

/** The first host port of `wanted` that `other` has too; where one of them has all addresses, a port at any of them. */
export function sharedEndpoint(
  wanted: InetSpec,
  other: InetSpec,
): { readonly ip: string; readonly port: number } | undefined {
  const port = Math.max(wanted.hostPorts.first, other.hostPorts.first);
  if (wanted.protocol !== other.protocol || port > Math.min(wanted.hostPorts.last, other.hostPorts.last))
    return undefined;
  const ip = wanted.hostIps.find((mine) => other.hostIps.some((its) => ipsOverlap(mine, its)));
  return ip === undefined ? undefined : { ip, port };
}
