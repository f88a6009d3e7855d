/** Adds to a refusal of the system who has the port, or what would help. */
import { BridgeError, type HostPlace, messageOf } from '../../errors.ts';
import { formatEndpoint } from '../../ip.ts';
import { portDiagnosis } from './choose.ts';
import type { Holder, PortDiagnosis } from './diagnosis.ts';

/**
 * @param error what taking a port failed of; anything else than PORT_IN_USE and PERMISSION_DENIED comes back unchanged
 * @param diagnosis for tests
 */
export async function explain(error: BridgeError, diagnosis?: PortDiagnosis): Promise<BridgeError> {
  const { code, place } = error;
  if (place === undefined) return error;
  try {
    if (code === 'PORT_IN_USE') {
      const holder = await (diagnosis ?? (await portDiagnosis())).findHolder(place);
      return holder === undefined ? error : because(error, describe(holder, place));
    }
    if (code === 'PERMISSION_DENIED' && place.protocol !== 'unix') {
      const why = await (diagnosis ?? (await portDiagnosis())).whyDenied(place);
      return why === undefined ? error : because(error, why);
    }
  } catch (trouble) {
    return because(error, `why, the system did not say (${messageOf(trouble)})`);
  }
  return error;
}

/** The same error with a reason behind its text, whose beginning clients know. */
export function because(error: BridgeError, why: string): BridgeError {
  const { code, errno, message, place } = error;
  return new BridgeError(code, `${message}: ${why}`, { errno, place, cause: error });
}

/** `0.0.0.0:80, which includes 127.0.0.1:80`: how what is held is in the way of what is wanted. */
export function inTheWay(held: string, wanted: HostPlace): string {
  const asked = wanted.protocol === 'unix' ? wanted.path : formatEndpoint(wanted.ip, wanted.port);
  if (held === asked) return held;
  const heldIsWider = /^(?:0\.0\.0\.0|\[::\]):/.test(held);
  return heldIsWider ? `${held}, which includes ${asked}` : `${held}, which ${asked} includes`;
}

function describe({ where, process: owner, user }: Holder, wanted: HostPlace): string {
  const place = inTheWay(where, wanted);
  if (owner?.pid === process.pid) return `this process has ${place}`;
  if (owner !== undefined) return `${owner.command} (process ${owner.pid}) has ${place}`;
  return user === undefined ? `a process has ${place}` : `a process of the user with id ${user} has ${place}`;
}
