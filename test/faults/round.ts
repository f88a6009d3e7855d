import { setTimeout as delay } from 'node:timers/promises';
import { listForwards } from '../helpers/api.ts';
import { Seeded } from '../helpers/seeded.ts';
import { type Baseline, checkForwards, checkLeaks, checkTable, checkTransfers } from './checks.ts';
import type { Claimer } from './claimer.ts';
import { Fault } from './fault.ts';
import { JOURNEYS, type UnderWay } from './journeys.ts';
import { LOADS, type Load, startLoad } from './load.ts';
import { type Lane, type Point, pointsOf, type Victim, victimsOf } from './points.ts';
import type { Site } from './site.ts';

/** How long the other side has with the last message, milliseconds. */
const PAUSES = [0, 0, 1, 5, 30] as const;
/** A point that is not reached by then never is. */
const STRIKE_MS = 20_000;

/** What a round does, all of it told by its seed. */
export interface Plan {
  readonly point: Point;
  readonly victim: Victim;
  readonly load: Load;
  readonly pauseMs: number;
}

/** How a round went well. */
export interface Outcome {
  readonly recoveryMs: number;
  readonly whole: number;
  readonly broken: number;
}

export function planOf(seed: number, lane: Lane): Plan {
  const random = new Seeded(seed);
  const point = random.pick(pointsOf(lane));
  const victim = random.pick(victimsOf(lane));
  return {
    point,
    victim: point.victim ?? victim,
    load: random.pick(LOADS),
    pauseMs: random.pick(PAUSES),
  };
}

/** One fault and what comes of it. @throws Error for whatever does not hold behind it */
export async function runRound(site: Site, seed: number, before: Baseline): Promise<Outcome> {
  const { point, victim, load, pauseMs } = planOf(seed, site.lane);
  const random = new Seeded(seed ^ 0x5eed);
  const journey = await JOURNEYS[point.journey](site, random);
  const stopLoad = startLoad(site, load, random);
  const base = random.pick(site.claimers);
  try {
    // The load is to be under way.
    await delay(load === 'none' ? 0 : random.between(0, 60));
    site.fault = new Fault(point, pauseMs, () => strike(site, victim, journey, base));
    const running = journey.run();
    running.catch(() => {}); // looked at below
    await reached(site.fault, point);
    await running;
  } finally {
    site.fault = undefined;
    await stopLoad();
  }
  if (victim === 'claimer' && journey.claimer === undefined && journey.abandon === undefined)
    await checkReleased(site, base);
  await site.restart();
  const recoveryMs = await checkForwards(site);
  await journey.after(Date.now() + 6_000);
  const transfers = await checkTransfers(site, victim);
  await checkTable(site, [...site.exposed, site.reverse, ...site.claimers.map(({ spec }) => spec)]);
  await checkLeaks(site, before);
  return { recoveryMs, ...transfers };
}

async function strike(site: Site, victim: Victim, journey: UnderWay, base: Claimer): Promise<void> {
  switch (victim) {
    case 'claimer':
      if (journey.abandon !== undefined) journey.abandon();
      else await (journey.claimer ?? base).stop('SIGKILL');
      return;
    case 'host':
    case 'shim':
      return site.kill(victim);
    default:
      site.cut(victim);
  }
}

async function reached(fault: Fault, point: Point): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the point was not reached: ${point.name}`)), STRIKE_MS);
  });
  try {
    await Promise.race([fault.struck, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What a killed claimer had published is gone, before a supervisor starts it again. */
async function checkReleased(site: Site, claimer: Claimer): Promise<void> {
  const end = Date.now() + 6_000;
  const there = async () => (await listForwards(site.api)).forwards.some(({ spec }) => spec === claimer.spec);
  while (await there()) {
    if (Date.now() > end) throw new Error(`${claimer.spec} is still published without its claimer`);
    await delay(10);
  }
}
