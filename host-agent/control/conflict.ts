import { BridgeError, type HostPlace } from '../../shared/errors.ts';
import { formatEndpoint } from '../../shared/ip.ts';
import { because, explain, inTheWay } from '../../shared/ports/diagnosis/explain.ts';
import { overlaps } from '../../shared/ports/diagnosis/overlap.ts';
import { endpointsFrom } from '../../shared/ports/endpoints.ts';
import type { ForwardSpec } from './forward-spec.ts';
import type { Claim } from './forward-table.ts';

/**
 * Adds to a refusal who is in the way: another claim of ours, which the table knows, or else what the system tells. The
 * VM that asked hears of it too: names of VMs and of processes, never what they publish.
 * @param claims those that hold a port now
 */
export async function explainRefusal(error: unknown, claims: Iterable<Claim>): Promise<unknown> {
  if (!(error instanceof BridgeError)) return error;
  const { code, place } = error;
  if (code === 'PORT_IN_USE' && place !== undefined)
    for (const { vm, owner, spec } of claims)
      for (const held of placesOf(spec))
        if (isInTheWay(held, place))
          return because(error, `VM "${vm}" has ${inTheWay(textOf(held), place)} (published by ${owner})`);
  return explain(error);
}

/** What a claim holds on the host. */
function placesOf(spec: ForwardSpec): HostPlace[] {
  if (spec.protocol === 'reverse') return [];
  if (spec.protocol === 'unix') return [{ protocol: 'unix', path: spec.hostPath }];
  return endpointsFrom(spec.hostPorts.first, spec);
}

/** As a refusal names it. */
export function textOf(place: HostPlace): string {
  return place.protocol === 'unix' ? place.path : formatEndpoint(place.ip, place.port);
}

/** Whether one forward of ours cannot have its place beside another of the same machine. */
export function isInTheWay(held: HostPlace, wanted: HostPlace): boolean {
  if (held.protocol === 'unix' || wanted.protocol === 'unix')
    return held.protocol === 'unix' && wanted.protocol === 'unix' && held.path === wanted.path;
  return (
    held.protocol === wanted.protocol &&
    held.port === wanted.port &&
    overlaps(wanted.ip, held.ip, { ours: true })
  );
}
