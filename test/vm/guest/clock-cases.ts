/** What a step of the time does to a link, whose two sides have a token here. Only a guest lets us set its clock. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { runPortferry, until } from '../../helpers/processes.ts';
import { roundTrip } from '../../helpers/stream-client.ts';
import { type Cases, same, WAIT_MS } from '../cases.ts';
import type { Containers } from './containers.ts';
import type { Namespace } from './namespace.ts';
import { VsockPair } from './vsock-pair.ts';

const SHAPES = [
  ['portable', 6_101],
  ['linux', 6_102],
] as const;

export async function clockCases(
  cases: Cases,
  vm: Namespace,
  folder: string,
  containers: Containers,
): Promise<void> {
  const token = join(folder, 'token');
  same((await runPortferry('token', token)).code, 0, 'portferry token');
  // Without a step nobody is asked within an hour.
  const options = ['--heartbeat', '3600', '--token-file', token];
  const start = async ([engine, port]: (typeof SHAPES)[number]) => {
    const pair = await VsockPair.start({ vm, folder, engine, lane: 'multiplexed', port, options });
    return { engine, pair };
  };
  let pairs: Array<Awaited<ReturnType<typeof start>>> = [];
  const linked = await cases.case('both sides have a token: the links come up', async () => {
    pairs = await Promise.all(SHAPES.map(start));
  });
  if (!linked) return;
  const rtts = () => Promise.all(pairs.map(async ({ pair }) => (await pair.state()).rttMs));
  await cases.case('a step of the time: every peer is asked at once', async () => {
    const before = await until('the first answers', async () => allOf(await rtts()), WAIT_MS);
    setClock(3_600);
    const again = async () =>
      (await rtts()).every((rtt, index) => rtt !== undefined && rtt !== before[index]);
    await until('more answers', again, WAIT_MS);
  });
  await cases.case('a step of the time: a peer that is stopped is dead, and comes back', async () => {
    // The step before may have ended a link of a slow guest, with the same words.
    for (const { pair } of pairs) await pair.linked();
    const before = pairs.map(({ pair }) => pair.host.stderr().length);
    for (const { pair } of pairs) pair.shim.child.kill('SIGSTOP');
    setClock(-3_600);
    for (const [index, { pair, engine }] of pairs.entries()) {
      const said = 'the peer was silent for a second after the clock had jumped';
      await until(
        `the host of the ${engine} engine to notice`,
        () => pair.host.stderr().slice(before[index]).includes(said),
        WAIT_MS,
      );
      pair.shim.child.kill('SIGCONT');
    }
    for (const { pair } of pairs) {
      await pair.linked();
      same(await roundTrip(await pair.tcp(containers.echo), 'again'), 'again', 'a round trip');
    }
  });
  await Promise.all(pairs.map(({ pair }) => pair.close()));
}

function allOf<T>(values: ReadonlyArray<T | undefined>): readonly T[] | undefined {
  return values.every((value) => value !== undefined) ? (values as T[]) : undefined;
}

/** Sets the time of the guest. */
function setClock(secondsAhead: number): void {
  const { status } = spawnSync('date', ['-s', `@${Math.round(Date.now() / 1000) + secondsAhead}`]);
  same(status, 0, 'date -s');
}
