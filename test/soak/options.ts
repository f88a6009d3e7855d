import { parseArgs } from 'node:util';

export const USAGE = `usage: npm run test:soak -- [options]
  --seconds S   how long, of both engines together (600)
  --seed N      of what happens (drawn)`;

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
}

/** @throws Error for what it does not understand */
export function parseOptions(args: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...args],
    options: { seconds: { type: 'string' }, seed: { type: 'string' } },
  });
  const seconds = Number(values.seconds ?? 600);
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed);
  if (!(seconds >= 20 && seconds <= 86_400)) throw new Error('--seconds is from 20 to 86400');
  if (!Number.isInteger(seed) || seed < 0) throw new Error('--seed is a whole number');
  return { seconds, seed };
}
