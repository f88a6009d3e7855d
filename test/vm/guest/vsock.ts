/** Group `vsock`: both programs in one guest, joined by AF_VSOCK over loopback, each in a network of its own. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from '../../helpers/processes.ts';
import { carryCases } from '../carry-cases.ts';
import { type Cases, same, WAIT_MS } from '../cases.ts';
import { BULK } from '../groups.ts';
import { clockCases } from './clock-cases.ts';
import type { Containers } from './containers.ts';
import { cutCases } from './cut-cases.ts';
import { Namespace } from './namespace.ts';
import { refusalCases } from './refusal-cases.ts';
import { reverseCases } from './reverse-cases.ts';
import { VsockPair } from './vsock-pair.ts';

const SHAPES = [
  ['portable', 'dedicated', 5_001],
  ['linux', 'dedicated', 5_002],
  ['portable', 'multiplexed', 5_003],
] as const;

export async function run(cases: Cases, digest: string): Promise<void> {
  const { status } = spawnSync('modprobe', ['vsock_loopback']);
  same(status, 0, 'modprobe vsock_loopback');
  const folder = mkdtempSync('/tmp/vsock-');
  const vm = await Namespace.make();
  const script = fileURLToPath(new URL('containers.js', import.meta.url));
  const serving = vm.startNode(script, folder);
  const ports = () => {
    if (serving.child.exitCode !== null) throw new Error(`the containers ended: ${serving.stderr()}`);
    return serving.stdout().includes('\n') && (JSON.parse(serving.stdout()) as Containers);
  };
  const containers = await until('the containers', ports, WAIT_MS);
  // Starting takes longest here, so all are started at once.
  const pairs = SHAPES.map(async ([engine, lane, port]) => {
    const what = `${lane} lane, ${engine} engine`;
    let pair: VsockPair | undefined;
    await cases.case(`${what}: the link comes up on that lane`, async () => {
      pair = await VsockPair.start({ vm, folder, engine, lane, port });
    });
    return { what, pair };
  });
  const seenSocket = join(folder, 'seen.sock');
  const bulk = { ...BULK, digest };
  for (const { what, pair } of await Promise.all(pairs)) {
    if (pair === undefined) continue;
    await reverseCases(cases, what, pair, vm);
    await carryCases(cases, what, pair, { containers, seenSocket, folder, bulk });
    await pair.close();
  }
  await refusalCases(cases, vm, folder, containers);
  await clockCases(cases, vm, folder, containers);
  await cutCases(cases, vm, folder);
  await serving.kill('SIGKILL');
  await vm.close();
}
