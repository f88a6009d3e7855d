/**
 * `npm run test:hostile [-- TEXT...]`: a VM that wants to harm its host agent, attack by attack (those whose name holds a TEXT).
 * All meet the same process of each engine, so what one leaves behind counts against the next.
 */
import { engines } from '../helpers/engines.ts';
import { mib } from '../helpers/process-figures.ts';
import type { Attack } from './attack.ts';
import { CLAIM_ATTACKS } from './attacks/claims.ts';
import { COUNT_ATTACKS } from './attacks/counts.ts';
import { DATAGRAM_ATTACKS } from './attacks/datagrams.ts';
import { DEDICATED_ATTACKS } from './attacks/dedicated.ts';
import { FRAME_ATTACKS } from './attacks/frames.ts';
import { HELLO_ATTACKS } from './attacks/hellos.ts';
import { REVERSE_ATTACKS } from './attacks/reverse.ts';
import { SPARE_ATTACKS } from './attacks/spares.ts';
import { TOKEN_ATTACKS } from './attacks/tokens.ts';
import { TREE_ATTACKS } from './attacks/tree.ts';
import { UNIX_PATH_ATTACKS } from './attacks/unix-paths.ts';
import { Bystander } from './bystander.ts';
import { STAY_MS } from './memory-watch.ts';
import { MEMORY_BOUND, Scene } from './scene.ts';

const ATTACKS: readonly Attack[] = [
  ...FRAME_ATTACKS,
  ...HELLO_ATTACKS,
  ...CLAIM_ATTACKS,
  ...UNIX_PATH_ATTACKS,
  ...TREE_ATTACKS,
  ...DEDICATED_ATTACKS,
  ...DATAGRAM_ATTACKS,
  ...SPARE_ATTACKS,
  ...COUNT_ATTACKS,
  ...TOKEN_ATTACKS,
  ...REVERSE_ATTACKS,
];
const TAIL_LINES = 8;
const ATTACK_MS = 180_000;

const wanted = process.argv.slice(2);
const attacks = ATTACKS.filter(
  ({ name }) => wanted.length === 0 || wanted.some((text) => name.includes(text)),
);
if (attacks.length === 0) {
  console.error(
    `no attack's name holds ${wanted.join(' or ')}; there are:\n${ATTACKS.map(({ name }) => name).join('\n')}`,
  );
  process.exit(2);
}
let failed = 0;
let passed = 0;
const begun = performance.now();
// Both at once: most attacks wait.
await Promise.all(
  engines.map(async (engine) => {
    const scene = await Scene.start(engine);
    console.log(
      `${engine}: the host agent has ${scene.memory} at first, and may have ${mib(MEMORY_BOUND)} more; what is above that has ${STAY_MS / 1000} s to go`,
    );
    for (const attack of attacks) await tryAttack(scene, attack);
    await scene.close();
  }),
);
console.log(`${passed} passed, ${failed} failed in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
process.exit(failed === 0 ? 0 : 1);

async function tryAttack(scene: Scene, attack: Attack): Promise<void> {
  const bystander = new Bystander(scene.exchange, scene.goodPorts);
  const memory = scene.watchMemory();
  const begun = performance.now();
  let said = '';
  let error: Error | undefined;
  try {
    said = await limited(attack.run(scene));
  } catch (thrown) {
    error = thrown as Error;
  }
  const others = await bystander.stop().catch((thrown: Error) => {
    error ??= thrown;
    return { served: 0, slowestMs: 0 };
  });
  await memory.stop();
  if (memory.stayed)
    error ??= new Error(
      `the host agent grew by ${mib(memory.most)}, and for ${STAY_MS / 1000} s by more than ${mib(MEMORY_BOUND)}`,
    );
  if (scene.host.child.exitCode !== null || scene.host.child.signalCode !== null)
    error = new Error('the host agent has ended');
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  const briefly = memory.most > MEMORY_BOUND && !memory.stayed ? ' for a moment' : '';
  const figures = `${seconds} s; +${mib(memory.most)}${briefly}; ${others.served} requests of others, the slowest ${others.slowestMs} ms`;
  if (error === undefined) {
    passed++;
    console.log(`ok ${scene.engine} ${attack.name}: ${said} (${figures})`);
    return;
  }
  failed++;
  console.log(`FAILED ${scene.engine} ${attack.name}: ${error.message} (${figures})`);
  console.log(
    scene.host
      .stderr()
      .trimEnd()
      .split('\n')
      .slice(-TAIL_LINES)
      .map((line) => `  ${line.slice(0, 250)}`)
      .join('\n'),
  );
}

async function limited<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over within ${ATTACK_MS / 1000} s`)), ATTACK_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
