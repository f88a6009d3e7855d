import { setImmediate as othersTurn } from 'node:timers/promises';
import { BridgeError } from '../errors.ts';
import { formatPorts, type PortRange, portCount } from '../port-range.ts';

/** The dynamic ports of RFC 6335, section 6, without the first, as docker takes them. */
export const EPHEMERAL: PortRange = { first: 49_153, last: 65_535 };

/** Attempts in a row before others get their turn. */
const MAX_ATTEMPTS = 64;

/** What came of trying to take ports: what was taken, or the first of them that could not be had and why. */
export type Attempt<T> = { readonly taken: T } | { readonly failed: BridgeError; readonly port: number };

export interface Search<T> {
  /** What is asked for, for errors: `127.0.0.1:0`. */
  readonly what: string;
  /** How many ports in a row. */
  readonly count: number;
  /** Tries those from `first` on: all of them or none. */
  readonly take: (first: number) => Promise<Attempt<T>>;
}

/**
 * Chooses host ports for those who leave the choice to us. It goes round its range, so that a port that was given back
 * is not soon another's; where it begins is random, so that this holds over a restart too.
 */
export class PortAllocator {
  readonly range: PortRange;
  private next: number;

  /** @param random from 0 to below 1 */
  constructor(range: PortRange = EPHEMERAL, random: number = Math.random()) {
    this.range = range;
    this.next = range.first + Math.floor(random * portCount(range));
  }

  /** Takes free ports, wherever they are in the range. @throws BridgeError as takeFrom does */
  allocate<T>(search: Search<T>): Promise<T> {
    const { range } = this;
    const take = (first: number): Promise<Attempt<T>> => {
      // Before it is known what comes of it: others who ask meanwhile look elsewhere.
      const behind = first + search.count;
      this.next = behind > range.last ? range.first : behind;
      return search.take(first);
    };
    return takeFrom(range, { ...search, take }, this.next);
  }
}

/**
 * Takes the first free ports of a range, passing by those that somebody has. docker gives up after ten; here it is once
 * round, because nobody is helped by a refusal while ports are free.
 * @param begin where it begins and, once round, ends
 * @throws BridgeError PORT_IN_USE when there are none, PERMISSION_DENIED when none may be taken; anything else at once
 */
export async function takeFrom<T>(range: PortRange, search: Search<T>, begin = range.first): Promise<T> {
  const { what, count, take } = search;
  let denied: BridgeError | undefined;
  let inUse = false;
  let attempts = 0;
  let first = begin;
  let left = count > portCount(range) ? 0 : portCount(range);
  while (left > 0) {
    if (first + count - 1 > range.last) {
      left -= range.last + 1 - first;
      first = range.first;
      continue;
    }
    const attempt = await take(first);
    if ('taken' in attempt) return attempt.taken;
    const { failed, port } = attempt;
    if (failed.code === 'PORT_IN_USE') inUse = true;
    else if (failed.code === 'PERMISSION_DENIED') denied = failed;
    else throw failed;
    left -= port + 1 - first;
    first = port + 1;
    if (++attempts % MAX_ATTEMPTS === 0) await othersTurn();
  }
  if (denied !== undefined && !inUse) throw denied;
  const wanted = count === 1 ? 'port is free' : `${count} ports in a row are free`;
  throw new BridgeError('PORT_IN_USE', `Bind for ${what} failed: no ${wanted} in ${formatPorts(range)}`);
}
