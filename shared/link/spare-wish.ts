/** How many spare streams the host agent has the VM shim keep open: a few, and more while clients wait for one. */

/** Kept ready while nobody waits. */
export const SPARES_READY = 8;
/** The most that a shim keeps open at once, whatever it is asked for. */
export const MAX_SPARES = 64;

/**
 * Grows as soon as more are needed, by doubling, and shrinks only when a quarter would do, so that a burst of clients
 * costs a few messages and not one each.
 * @param last what was asked for last; 0 before that
 * @param waiting clients that have found none
 */
export function nextWish(last: number, waiting: number): number {
  let wish = SPARES_READY;
  while (wish < MAX_SPARES && wish < SPARES_READY + waiting) wish *= 2;
  wish = Math.min(wish, MAX_SPARES);
  return wish > last || wish <= last / 4 ? wish : last;
}
