/**
 * `npm run test:soak [-- --seconds S --seed N]`: forwards, connections and datagrams come and go at random, on each lane and
 * engine. Memory and descriptors have to stay what they were, and every byte has to be the right one.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { lanesAndEngines } from '../helpers/engines.ts';
import { mib } from '../helpers/process-figures.ts';
import { Pair, until } from '../helpers/processes.ts';
import { compareMemory, MORE_DESCRIPTORS, type Sample, sample, toleranceOf } from './figures.ts';
import { parseOptions, type SoakOptions, USAGE } from './options.ts';
import { Traffic } from './traffic.ts';

const SAMPLE_MS = 250;
/** Stretches between which all comes to rest. The first warms up, and does not count. */
const STRETCHES = 6;

let options: SoakOptions;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exit(2);
}
const { seconds, seed } = options;
const tolerance = toleranceOf(seconds / lanesAndEngines.length);
console.log(
  `${seconds} s, seed ${seed}; memory may grow by ${mib(tolerance.bytes)} or ${tolerance.share * 100} %, descriptors by ${MORE_DESCRIPTORS}`,
);
let failed = 0;
for (const [index, [lane, engine]] of lanesAndEngines.entries()) {
  const name = `${lane}/${engine}`;
  try {
    console.log(`ok ${name}: ${await soak(lane, engine, seconds / lanesAndEngines.length, seed + index)}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${(error as Error).message}`);
  }
}
if (failed > 0) console.log(`again: npm run test:soak -- --seconds ${seconds} --seed ${seed}`);
process.exit(failed === 0 ? 0 : 1);

async function soak(
  lane: (typeof lanesAndEngines)[number][0],
  engine: (typeof lanesAndEngines)[number][1],
  share: number,
  ownSeed: number,
): Promise<string> {
  const pair = await Pair.start(lane, engine);
  const traffic = await Traffic.start(pair, ownSeed);
  const samples: { host: Sample; shim: Sample }[] = [];
  const look = () => ({ host: sample(pair.host.pid), shim: sample(pair.shim.pid) });
  try {
    let atRest: ReturnType<typeof look> | undefined;
    const begun = performance.now();
    for (let stretch = 0; stretch < STRETCHES; stretch++) {
      const end = begun + (share * 1_000 * (stretch + 1)) / STRETCHES;
      traffic.run();
      while (performance.now() < end) {
        await delay(SAMPLE_MS);
        if (stretch > 0) samples.push(look());
      }
      await traffic.rest();
      // Behind the warm-up: UDP flows have their sockets, pools are filled.
      if (stretch === 0) atRest = await restOf(look);
      else await checkDescriptors(look, atRest!);
    }
    if (traffic.faults.length > 0) throw new Error(traffic.faults.slice(0, 5).join('; '));
    const memory = [
      compareMemory(
        'host',
        samples.map(({ host }) => host),
        tolerance,
      ),
      compareMemory(
        'shim',
        samples.map(({ shim }) => shim),
        tolerance,
      ),
    ];
    const { exposed, transfers, cut, bytes, datagrams, answered } = traffic.counts;
    const { host, shim } = look();
    return (
      `${memory.join('; ')}; descriptors ${atRest!.host.descriptors} -> ${host.descriptors}, ${atRest!.shim.descriptors} -> ${shim.descriptors}; ` +
      `${exposed} exposed, ${transfers} transfers (${cut} cut off), ${mib(bytes)}, ${answered} of ${datagrams} datagrams answered`
    );
  } finally {
    await pair.close();
    await traffic.close();
  }
}

/** When descriptors no longer change. */
async function restOf<T>(look: () => T): Promise<T> {
  let last = look();
  await delay(500);
  return until('descriptors to stay as they are', async () => {
    const now = look();
    const descriptors = (of: T) =>
      JSON.stringify(of)
        .match(/"descriptors":\d+/g)
        ?.join();
    const same = descriptors(now) === descriptors(last);
    last = now;
    await delay(200);
    return same && now;
  });
}

async function checkDescriptors(
  look: () => { host: Sample; shim: Sample },
  before: { host: Sample; shim: Sample },
): Promise<void> {
  for (const which of ['host', 'shim'] as const) {
    const most = before[which].descriptors + MORE_DESCRIPTORS;
    await until('descriptors', () => look()[which].descriptors <= most, 10_000).catch(() => {
      throw new Error(
        `the ${which} has ${look()[which].descriptors} descriptors at rest, and had ${before[which].descriptors}`,
      );
    });
  }
}
