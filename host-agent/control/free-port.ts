import { BridgeError } from '../../shared/errors.ts';
import { type PortRange, portCount, portsFrom } from '../../shared/port-range.ts';
import { hostEnd, type PortSpec } from '../../shared/port-spec.ts';
import { type Attempt, takeFrom } from '../../shared/ports/allocator.ts';

/**
 * Opens a forward. Who asks for any free ports gets some that the policy allows, all within one of its ranges.
 * @param allowed undefined when all will do that are usually chosen from
 * @throws BridgeError as `open` does; PORT_IN_USE when none that are allowed could be had
 */
export async function openFreePort<T>(
  spec: PortSpec,
  allowed: readonly PortRange[] | undefined,
  open: (spec: PortSpec) => Promise<T>,
): Promise<T> {
  if (spec.protocol === 'unix' || spec.hostPorts.first !== 0 || allowed === undefined) return open(spec);
  const count = portCount(spec.vmPorts);
  const take = async (first: number): Promise<Attempt<T>> => {
    try {
      return { taken: await open({ ...spec, hostPorts: portsFrom(first, count) }) };
    } catch (error) {
      if (error instanceof BridgeError) return { failed: error, port: first };
      throw error;
    }
  };
  let last: unknown;
  for (const range of allowed) {
    const begin = range.first + Math.floor(Math.random() * portCount(range));
    try {
      return await takeFrom(range, { what: hostEnd(spec), count, take }, begin);
    } catch (error) {
      last = error;
      if (!(error instanceof BridgeError) || error.code !== 'PORT_IN_USE') throw error;
    }
  }
  throw last;
}
