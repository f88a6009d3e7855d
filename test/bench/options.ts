import { parseArgs } from 'node:util';
import { MEASURES, type Measure } from './measures.ts';
import { PEERS } from './peers/known.ts';
import type { Peer } from './peers/peer.ts';

const DEFAULT_ROUNDS = 3;
const DEFAULT_SECONDS = 1;
/** A measure of no forwarder. */
const PROXY = 'proxy';

export const USAGE = `usage: npm run bench -- [options]
  --rounds N         how often each peer is measured (${DEFAULT_ROUNDS})
  --seconds S        how long each measure takes (${DEFAULT_SECONDS})
  --only NAME,...    of ${MEASURES.map(({ name }) => name).join(', ')};
                     alone: ${PROXY}, what portferry-proxy costs a port, printed only
  --peers NAME,...   of ${PEERS.map(({ name }) => name).join(', ')}
  --json FILE        writes every figure of every round there
  --with FILE,...    adds the rounds of such files to the tables; with --rounds 0 there are no others
  --no-write         leaves docs/performance.md as it is`;

export interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  /** Only what portferry-proxy costs. */
  readonly proxy: boolean;
  readonly measures: readonly Measure[];
  readonly peers: readonly Peer[];
  readonly json: string | undefined;
  readonly earlier: readonly string[];
  readonly write: boolean;
  readonly help: boolean;
}

/** @throws Error for what it does not understand */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string' },
      peers: { type: 'string' },
      json: { type: 'string' },
      with: { type: 'string' },
      'no-write': { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  const proxy = values.only === PROXY;
  const rounds = Number(values.rounds ?? DEFAULT_ROUNDS);
  const seconds = Number(values.seconds ?? DEFAULT_SECONDS);
  const least = values.with === undefined ? 1 : 0;
  if (!Number.isInteger(rounds) || rounds < least || rounds > 100)
    throw new Error(`--rounds is from ${least} to 100`);
  if (!(seconds >= 0.1 && seconds <= 60)) throw new Error('--seconds is from 0.1 to 60');
  return {
    rounds,
    seconds,
    proxy,
    measures: pick('--only', proxy ? undefined : values.only, MEASURES),
    peers: pick('--peers', values.peers, PEERS),
    json: values.json,
    earlier: values.with?.split(',') ?? [],
    write: values['no-write'] !== true,
    help: values.help === true,
  };
}

/** Those that are named, in the order of all. */
function pick<T extends { readonly name: string }>(
  option: string,
  names: string | undefined,
  all: readonly T[],
): readonly T[] {
  if (names === undefined) return all;
  const wanted = new Set(names.split(','));
  const picked = all.filter(({ name }) => wanted.delete(name));
  const [unknown] = wanted;
  if (unknown !== undefined)
    throw new Error(`${option}: unknown "${unknown}"; known are ${all.map(({ name }) => name).join(', ')}`);
  return picked;
}
