/**
 * `npm run test:faults [-- --rounds N --seed N]`: kills the claimer, the shim, the host agent or the link at a named point
 * of what they say to each other, round by round, and looks at what comes of it.
 */
import { parseArgs } from 'node:util';
import { engines } from '../helpers/engines.ts';
import { Seeded } from '../helpers/seeded.ts';
import { type Baseline, baselineOf, checkForwards } from './checks.ts';
import { type Lane, POINTS } from './points.ts';
import { planOf, runRound } from './round.ts';
import { Site } from './site.ts';

const USAGE = `usage: npm run test:faults -- [options]
  --rounds N   how many faults (20)
  --seed N     of the first round; each further one has the next number (drawn)
  --points     lists the points and ends`;
const TAIL_LINES = 25;
const LANES: readonly Lane[] = ['dedicated', 'multiplexed', 'shim-dialled'];
const lanesAndEngines = engines.flatMap((engine) => LANES.map((lane) => [lane, engine] as const));

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string' },
    points: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help || values.points) {
  console.log(values.help ? USAGE : POINTS.map(({ name }) => name).join('\n'));
  process.exit(0);
}
const rounds = Number(values.rounds);
const first = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed);
if (!Number.isInteger(rounds) || rounds < 1 || !Number.isInteger(first) || first < 0) {
  console.error(USAGE);
  process.exit(2);
}

/** Programs are kept from round to round, so that what a fault leaves behind adds up; a failed round ends its own. */
const sites = new Map<string, { readonly site: Site; readonly before: Baseline }>();
const begun = performance.now();
const reached = new Set<string>();
const failed: number[] = [];
let slowest = 0;
let whole = 0;
let broken = 0;
console.log(`${rounds} rounds from seed ${first}, ${POINTS.length} points`);
for (let round = 0; round < rounds; round++) await tryRound(first + round);
for (const { site } of sites.values()) await site.close();
const seconds = ((performance.now() - begun) / 1000).toFixed(0);
console.log(
  `${rounds - failed.length} passed, ${failed.length} failed in ${seconds} s; ${reached.size} points; ` +
    `the slowest recovery took ${slowest} ms; ${whole} transfers whole, ${broken} cut off and known to be`,
);
if (failed.length > 0) {
  console.log(
    `failed seeds: ${failed.join(', ')}; one again: npm run test:faults -- --rounds 1 --seed ${failed[0]}`,
  );
  console.log(`all that came before it: npm run test:faults -- --rounds ${rounds} --seed ${first}`);
}
process.exit(failed.length > 0 ? 1 : 0);

async function tryRound(seed: number): Promise<void> {
  const [lane, engine] = new Seeded(seed ^ 0x51de).pick(lanesAndEngines);
  const { point, victim, load } = planOf(seed, lane);
  const line = `${seed} ${lane}/${engine} kill ${victim}, ${point.name}, load: ${load}`;
  const key = `${lane}/${engine}`;
  try {
    const { site, before } = sites.get(key) ?? (await open(lane, engine, seed));
    const { recoveryMs, ...transfers } = await runRound(site, seed, before);
    reached.add(point.name);
    slowest = Math.max(slowest, recoveryMs);
    whole += transfers.whole;
    broken += transfers.broken;
    console.log(`ok ${line} (${recoveryMs} ms; ${transfers.whole} whole, ${transfers.broken} cut off)`);
  } catch (error) {
    failed.push(seed);
    console.log(`FAILED ${line}`);
    console.log(`  ${(error as Error).message}`);
    const site = sites.get(key)?.site;
    if (site === undefined) return;
    console.log(site.tail(TAIL_LINES));
    sites.delete(key);
    await site.close();
  }
}

async function open(
  lane: Site['lane'],
  engine: Site['engine'],
  seed: number,
): Promise<{ site: Site; before: Baseline }> {
  const site = await Site.start(lane, engine, new Seeded(seed ^ 0x90e7));
  // The UDP flow of the check stays open for a while, so it belongs to what there is at first.
  await checkForwards(site);
  const opened = { site, before: await baselineOf(site) };
  sites.set(site.name, opened);
  return opened;
}
