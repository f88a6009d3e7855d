#!/usr/bin/env node
/** What `npm run bench` runs: measures portferry and its peers in turns, and writes the table of docs/performance.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../shared/errors.ts';
import { LoadClient } from './load-client.ts';
import { BUSY, busyShare, describeMachine, loadPerCore } from './machine.ts';
import { type BenchOptions, parseOptions, USAGE } from './options.ts';
import { writeBetweenMarkers } from './page.ts';
import { BASELINES, PEERS, whyNot } from './peers/known.ts';
import type { Peer } from './peers/peer.ts';
import { measureProxy, proxyTable } from './proxy.ts';
import { measurePeer, measuresOf, type Outcome } from './round.ts';
import { markdown, summarize, type TableOptions, tableOf, WIDE } from './table.ts';

/** The compiled program is in dist/test/bench. */
const PAGE = fileURLToPath(new URL('../../../docs/performance.md', import.meta.url));
const LOOK_MS = 250;

/** What --json writes and --with reads. */
interface Recorded {
  readonly machine: string;
  readonly seconds: number;
  readonly outcomes: readonly Outcome[];
}

/** Those that can run here; says why of the others. */
function available(peers: readonly Peer[]): Peer[] {
  return peers.filter((peer) => {
    const why = whyNot(peer);
    if (why !== undefined) console.log(`left out: ${peer.name} (${why})`);
    return why === undefined;
  });
}

async function warnIfBusy(): Promise<void> {
  const share = await busyShare(LOOK_MS);
  if (share > BUSY || loadPerCore() > 1)
    console.log(
      `warning: the machine is busy (${Math.round(share * 100)} % of its cores, load ${loadPerCore().toFixed(1)} a core)`,
    );
}

/** Every peer once a round, the first one of a round another one each time. */
async function measureAll(
  peers: readonly Peer[],
  options: BenchOptions,
  client: LoadClient,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const first = (options.earlier.length + round) % peers.length;
    for (const peer of [...peers.slice(first), ...peers.slice(0, first)]) {
      if (measuresOf(peer, options.measures).length === 0) continue;
      const began = performance.now();
      const outcome = await measurePeer(peer, { ...options, client, signal });
      if (signal.aborted) return [];
      outcomes.push(outcome);
      const took = ((performance.now() - began) / 1000).toFixed(1);
      console.log(`round ${round + 1} of ${options.rounds}: ${peer.name}, ${took} s`);
      for (const why of new Set(Object.values(outcome.failed))) {
        const measures = Object.keys(outcome.failed).filter((name) => outcome.failed[name] === why);
        console.log(`  failed: ${why} [${measures.join(', ')}]`);
      }
    }
  }
  return outcomes;
}

/** Figures whose rounds lie far apart, for people. */
function wideOnes({ peers, measures, outcomes }: TableOptions): string[] {
  return measures.flatMap((measure) =>
    measure.columns.flatMap((column) =>
      peers.flatMap((peer) => {
        const summary = summarize(outcomes, peer, measure, column);
        return typeof summary === 'object' && summary.spread > WIDE
          ? [`${peer}: ${column.title} (${Math.round(summary.spread * 100)} %)`]
          : [];
      }),
    ),
  );
}

function report(recorded: Recorded, options: BenchOptions): TableOptions | undefined {
  const { outcomes } = recorded;
  const names = PEERS.map(({ name }) => name).filter((name) => outcomes.some(({ peer }) => peer === name));
  const baseline = BASELINES.find((name) => names.includes(name)) ?? names[0];
  if (baseline === undefined) return undefined;
  const table = { outcomes, peers: names, baseline, measures: options.measures, spreads: true };
  console.log(
    `\n${recorded.machine}\nmedians, in brackets ratios to ${baseline} and half the spread of the rounds\n`,
  );
  console.log(markdown(tableOf(table)));
  const wide = wideOnes(table);
  if (wide.length > 0) console.log(`\nwarning: rounds spread more than ${WIDE * 100} %: ${wide.join('; ')}`);
  return { ...table, spreads: false };
}

function writePage(recorded: Recorded, table: TableOptions): void {
  const rounds = Math.max(
    ...table.peers.map((name) => recorded.outcomes.filter(({ peer }) => peer === name).length),
  );
  const peers = PEERS.filter(({ name }) => table.peers.includes(name));
  writeBetweenMarkers(
    PAGE,
    [
      `${recorded.machine}. ${rounds === 1 ? '1 round' : `${rounds} rounds`} of ${recorded.seconds} s a measure: medians, in brackets the ratio to`,
      `${table.baseline}; \`~\` where the rounds spread more than ${WIDE * 100} %.\n`,
      markdown(tableOf(table)),
      '',
      ...peers.map(({ name, what }) => `- \`${name}\`: ${what}`),
    ].join('\n'),
  );
  console.log(`\nwritten to ${PAGE}`);
}

/** Rounds of earlier runs, and of this one; they are described by the last that measured anything. */
function withEarlier(paths: readonly string[], current: Recorded): Recorded {
  const earlier = paths.map((path) => JSON.parse(readFileSync(path, 'utf8')) as Recorded);
  const all = [...earlier, current];
  const last = all.findLast(({ outcomes }) => outcomes.length > 0) ?? current;
  return { ...last, outcomes: all.flatMap(({ outcomes }) => outcomes) };
}

async function runProxy(): Promise<number> {
  await warnIfBusy();
  console.log(proxyTable(await measureProxy()));
  return 0;
}

async function run(options: BenchOptions): Promise<number> {
  const interrupted = new AbortController();
  const client = new LoadClient();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      interrupted.abort();
      void client.stop();
    });
  try {
    await client.run({ type: 'release' }); // started, and its driver known
    const machine = describeMachine(client.driver);
    console.log(machine);
    const peers = available(options.peers);
    await warnIfBusy();
    const outcomes = await measureAll(peers, options, client, interrupted.signal);
    if (interrupted.signal.aborted) {
      console.error('interrupted');
      return 1;
    }
    const { seconds, json } = options;
    if (json !== undefined)
      writeFileSync(json, `${JSON.stringify({ machine, seconds, outcomes }, null, 1)}\n`);
    const recorded = withEarlier(options.earlier, { machine, seconds, outcomes });
    const table = report(recorded, options);
    if (table === undefined) throw new Error('nothing was measured');
    if (options.write) writePage(recorded, table);
    return outcomes.some(({ failed }) => Object.keys(failed).length > 0) ? 1 : 0;
  } finally {
    await client.close();
  }
}

let options: BenchOptions | undefined;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  console.error(`bench: ${messageOf(error)}\n${USAGE}`);
  process.exitCode = 2;
}
try {
  if (options?.help === true) console.log(USAGE);
  else if (options?.proxy === true) process.exitCode = await runProxy();
  else if (options !== undefined) process.exitCode = await run(options);
} catch (error) {
  console.error(`bench failed: ${messageOf(error)}`);
  process.exitCode = 1;
}
