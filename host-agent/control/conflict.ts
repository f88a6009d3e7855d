import { BridgeError } from '../../shared/errors.ts';
import { hostEnd, type PortSpec } from '../../shared/port-spec.ts';
import type { Wanted } from '../../shared/ports/diagnosis/diagnosis.ts';
import { because, explain, inTheWay } from '../../shared/ports/diagnosis/explain.ts';
import { overlaps } from '../../shared/ports/diagnosis/overlap.ts';
import type { Claim } from './forward-table.ts';

/**
 * Adds to a refusal who is in the way: another claim of ours, which the table knows, or else what the system tells. The
 * VM that asked hears of it too: names of VMs and of processes, never what they publish.
 * @param claims those that hold a port now
 */
export async function explainRefusal(
  error: unknown,
  spec: PortSpec,
  claims: Iterable<Claim>,
): Promise<unknown> {
  if (!(error instanceof BridgeError)) return error;
  const wanted = wantedOf(spec);
  if (error.code === 'PORT_IN_USE')
    for (const { vm, owner, spec: held } of claims)
      if (isInTheWay(wantedOf(held), wanted))
        return because(error, `VM "${vm}" has ${inTheWay(hostEnd(held), wanted)} (published by ${owner})`);
  return explain(error, wanted);
}

function wantedOf(spec: PortSpec): Wanted {
  if (spec.protocol === 'unix') return { protocol: 'unix', path: spec.hostPath };
  return { protocol: spec.protocol, ip: spec.hostIp, port: spec.hostPort };
}

function isInTheWay(held: Wanted, wanted: Wanted): boolean {
  if (held.protocol === 'unix' || wanted.protocol === 'unix')
    return held.protocol === 'unix' && wanted.protocol === 'unix' && held.path === wanted.path;
  return (
    held.protocol === wanted.protocol &&
    held.port === wanted.port &&
    overlaps(wanted.ip, held.ip, { ours: true })
  );
}
