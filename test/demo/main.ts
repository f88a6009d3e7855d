#!/usr/bin/env node
/**
 * What `npm start` runs: publishes the ports of three stand-in containers, checks them with real clients, and stays up
 * until Ctrl-C. With --once it ends after the checks; --engine says what both programs carry connections with.
 */
import { parseArgs } from 'node:util';
import { ENGINES, type EnginePreference, engineOptions } from '../../shared/engine/choose.ts';
import { messageOf } from '../../shared/errors.ts';
import { hostEnd, vmEnd } from '../../shared/port-spec.ts';
import { Scope } from '../../shared/scope.ts';
import { type Pair, type Published, publishAll, startPair, untilLinked } from './demo.ts';

const USAGE = `usage: npm start [-- [--once] [--engine ${ENGINES.join('|')}]]`;

/** A repeated signal changes nothing: npm may pass on the Ctrl-C that the terminal has sent already. */
function untilSignalled(): Promise<'signal'> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK'] as const)
      process.on(signal, () => resolve('signal'));
  });
}

/** Rejects when one of the programs ends. */
function untilProgramEnds({ programs }: Pair): Promise<never> {
  return Promise.race(
    programs.map(({ name, ended }) =>
      ended.then((how) => {
        throw new Error(`the ${name} ${how}`);
      }),
    ),
  );
}

function describePair({ programs, shimUrl, controlUrl }: Pair): string {
  const [shim, host] = programs;
  return [
    `VM shim     pid ${shim?.pid}, listens on ${shimUrl}`,
    `host agent  pid ${host?.pid}, serves the control filesystem on ${controlUrl}`,
  ].join('\n');
}

/** They look for themselves, so they need not agree. */
function describeEngines({ programs }: Pair): string {
  const [shim, host] = programs.map(({ engine }) => engine ?? 'unknown');
  return `engine      ${host === shim ? host : `${host} (host agent), ${shim} (VM shim)`}`;
}

function describePorts(published: readonly Published[]): string {
  const rows = published.map(({ name, spec, checked }) => [
    name,
    `${spec.protocol} ${hostEnd(spec)}`,
    `${spec.protocol} ${vmEnd(spec)}`,
    checked,
  ]);
  const table = [['NAME', 'PUBLISHED AT', 'CONTAINER', 'CHECKED'], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function describeNext({ api, controlUrl }: Pair, published: readonly Published[]): string {
  const { spec } = published[0]!;
  return [
    'In another terminal:',
    `  curl http://${hostEnd(spec)}/`,
    `  node dist/portferry.js list --api ${api}`,
    `  node dist/portferry.js claim ${spec.vmPorts.first} --control ${controlUrl}`,
    'Ctrl-C ends the demo.',
  ].join('\n');
}

function failed(error: unknown, pair: Pair | undefined): void {
  console.error(`demo failed: ${messageOf(error)}`);
  for (const program of pair?.programs ?? [])
    console.error(`--- last lines of the ${program.name}'s log\n${program.tail()}`);
}

async function run(once: boolean, engine: EnginePreference | undefined): Promise<number> {
  const scope = new Scope();
  const signalled = untilSignalled();
  let pair: Pair | undefined;
  let code = 0;
  try {
    pair = await startPair(scope, engine);
    const programEnds = untilProgramEnds(pair);
    programEnds.catch(() => {}); // also when nobody races it any more
    console.log(describePair(pair));
    const first = await Promise.race([show(pair, scope, once), signalled, programEnds]);
    if (first === 'shown' && !once) await Promise.race([signalled, programEnds]);
    if (first === 'signal' && once) code = 1;
  } catch (error) {
    failed(error, pair);
    code = 1;
  }
  await scope.close().catch((error: unknown) => {
    console.error(`demo: cleaning up failed: ${messageOf(error)}`);
    code = 1;
  });
  return code;
}

async function show(pair: Pair, scope: Scope, once: boolean): Promise<'shown'> {
  await untilLinked(pair, scope);
  console.log(describeEngines(pair));
  const published = await publishAll(pair, scope);
  console.log(`\n${describePorts(published)}\n`);
  console.log(
    once ? `${published.length} of ${published.length} checks passed` : describeNext(pair, published),
  );
  return 'shown';
}

try {
  const { values } = parseArgs({
    options: { once: { type: 'boolean' }, engine: { type: 'string' }, help: { type: 'boolean' } },
  });
  const engine = values.engine === undefined ? undefined : engineOptions({ engine: values.engine }).engine;
  if (values.help === true) console.log(USAGE);
  else process.exitCode = await run(values.once === true, engine);
} catch (error) {
  console.error(`demo: ${messageOf(error)}\n${USAGE}`);
  process.exitCode = 2;
}
