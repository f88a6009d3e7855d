import type { WantedClaim } from '../../shared/claim-messages.ts';

/** A claim that the host has, under the shim's number for it. */
export interface HeldClaim {
  readonly id: number;
  /** The spec as the shim asked for it. */
  readonly asked: string;
  /** What came of it; undefined while its port is being opened. */
  readonly resolved: string | undefined;
}

export interface Reconciliation {
  readonly keep: readonly number[];
  readonly add: readonly WantedClaim[];
  readonly drop: readonly number[];
}

/**
 * What to do so that a shim has exactly what it wants. A claim is kept when its number is the same and its spec is the
 * one that was asked for or the one that came of it: the shim asks again with the port that it was given, and never
 * learned of it if the link was lost before the answer.
 */
export function reconcile(held: Iterable<HeldClaim>, wanted: readonly WantedClaim[]): Reconciliation {
  const missing = new Map(wanted.map((each) => [each.id, each]));
  const keep: number[] = [];
  const drop: number[] = [];
  for (const { id, asked, resolved } of held) {
    const spec = missing.get(id)?.spec;
    if (spec === undefined || (spec !== asked && spec !== resolved)) {
      drop.push(id);
      continue;
    }
    missing.delete(id);
    keep.push(id);
  }
  return { keep, add: [...missing.values()], drop };
}
