import { removedOnHost } from '../../shared/claim-messages.ts';
import type { BridgeError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import { parseSpec } from '../../shared/port-spec.ts';
import type { PortDoor } from '../../shared/portfs/door.ts';
import { formatForward } from './forward-spec.ts';
import type { Claim, ForwardTable } from './forward-table.ts';

export interface PortDoorOptions {
  readonly table: ForwardTable;
  readonly vm: string;
  /** Names the 9P connection, e.g. `9p:3`. */
  readonly owner: string;
  readonly log: Logger;
}

/** The 9P tree's way into the forward table: a claim lives as long as its `ctl` is held. */
export function portDoor({ table, vm, owner, log }: PortDoorOptions): PortDoor {
  return {
    async claim(text) {
      let end: (why: BridgeError) => void = () => {};
      const ended = new Promise<BridgeError>((resolve) => {
        end = resolve;
      });
      const spec = parseSpec(text);
      let resolved = formatForward(spec);
      let given = true;
      let released: Promise<void> | undefined;
      const onReleased = (why?: BridgeError): void => {
        if (given) end(why ?? removedOnHost(resolved));
      };
      const claim = await table.claim({ owner, lease: 'ctl', vm, spec, onReleased });
      resolved = formatForward(claim.spec);
      return {
        resolved,
        status: () =>
          claim.stats().not_bound === 1
            ? 'not bound: this host has no IPv6'
            : `exposed for VM ${vm} since ${claim.since.toISOString()}${stateOf(claim)}`,
        stats: () => claim.stats(),
        ended,
        release: (options) => {
          given = false;
          released ??= table
            .release(claim, { now: options?.now ?? false })
            .catch((error: Error) => log.error({ err: error }, 'a forward did not close cleanly'));
          return released;
        },
      };
    },
  };
}

function stateOf(claim: Claim): string {
  const state = claim.state();
  return state === undefined ? '' : `, ${state}`;
}
