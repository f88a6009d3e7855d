import { BridgeError, type ErrorCode } from '../../shared/errors.ts';
import { formatEndpoint } from '../../shared/ip.ts';
import type { PortSpec } from '../../shared/port-spec.ts';
import type { PortRule } from '../../shared/rules/port-rule.ts';

/** Ports that are tried for one request. */
const MAX_TRIES = 256;
/** Another port may do better. */
const TAKEN: readonly ErrorCode[] = ['PORT_IN_USE', 'PERMISSION_DENIED'];

/**
 * Opens a forward. Who asks for any free port gets one of the ports that are allowed, from a random one on.
 * @param allowed undefined when every port will do, and the system chooses
 * @throws BridgeError as `open` does; PORT_IN_USE when no allowed port could be had
 */
export async function openFreePort<T>(
  spec: PortSpec,
  allowed: readonly PortRule[] | undefined,
  open: (spec: PortSpec) => Promise<T>,
): Promise<T> {
  if (spec.protocol === 'unix' || spec.hostPort !== 0 || allowed === undefined) return open(spec);
  const count = allowed.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  const start = Math.floor(Math.random() * count);
  const tries = Math.min(count, MAX_TRIES);
  for (let index = 0; index < tries; index++) {
    try {
      return await open({ ...spec, hostPort: nthPort(allowed, (start + index) % count) });
    } catch (error) {
      if (!(error instanceof BridgeError) || !TAKEN.includes(error.code)) throw error;
    }
  }
  const text = allowed
    .map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`))
    .join(', ');
  throw new BridgeError(
    'PORT_IN_USE',
    `Bind for ${formatEndpoint(spec.hostIp, 0)} failed: none of ${tries} tried of the ports that are allowed is free (${text})`,
  );
}

function nthPort(rules: readonly PortRule[], index: number): number {
  let left = index;
  for (const { first, last } of rules) {
    if (left <= last - first) return first + left;
    left -= last - first + 1;
  }
  return 0;
}
