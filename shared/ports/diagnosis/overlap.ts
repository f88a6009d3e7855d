import { isUnspecified } from '../../ip.ts';

/**
 * Whether two addresses cannot have the same port at once: they are the same, or one stands for all of the other's
 * family. A foreign `::` may take IPv4 as well (IPV6_V6ONLY is off by default on most systems), which nothing tells.
 * @param held of somebody else
 * @param options.ours whether `held` is our own, whose :: is for IPv6 only
 */
export function overlaps(
  wanted: string,
  held: string,
  options: { ours: boolean } = { ours: false },
): boolean {
  if (wanted === held) return true;
  const sameFamily = wanted.includes(':') === held.includes(':');
  if (sameFamily) return isUnspecified(wanted) || isUnspecified(held);
  return !options.ours && held === '::';
}
