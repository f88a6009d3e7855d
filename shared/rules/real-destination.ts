import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Destination } from '../destination.ts';
import { type DestinationRule, destinationAllowed } from './destination-rule.ts';

/**
 * What is to be dialled for a destination: of a unix socket the path without symbolic links, which must not lead out of
 * the directory of a rule.
 * @returns undefined when no rule allows it
 */
export function realDestination(
  rules: readonly DestinationRule[],
  destination: Destination,
): Destination | undefined {
  if (!destinationAllowed(rules, destination)) return undefined;
  if (destination.protocol !== 'unix') return destination;
  const real = { ...destination, path: realPath(destination.path) };
  const below = rules.map((rule) =>
    rule.kind === 'unix' ? { ...rule, directory: realPath(rule.directory) } : rule,
  );
  return destinationAllowed(below, real) ? real : undefined;
}

/** Of what is not there, by its directory: dialling it says so. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return dirname(path) === path ? path : join(realPath(dirname(path)), basename(path));
  }
}
