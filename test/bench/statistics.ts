import { median } from '../helpers/median.ts';

/** How far figures lie apart, as a share of their median; 0 of figures that are all the same. */
export function spread(figures: readonly number[]): number {
  const range = Math.max(...figures) - Math.min(...figures);
  return range > 0 ? range / Math.abs(median(figures)) : 0;
}
