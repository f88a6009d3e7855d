/** What a guest that stands still does to its link. */
import { setTimeout as delay } from 'node:timers/promises';
import { listForwards } from '../../helpers/api.ts';
import { hostPort, until } from '../../helpers/processes.ts';
import { connectTo, fateOf, fateOfNew, readExactly } from '../../helpers/stream-client.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import { HEARTBEAT, type Scene } from './scene.ts';
import { beginTransfer } from './transfer.ts';

/** How long the guest stands still without harm, milliseconds. */
const SHORT_MS = HEARTBEAT * 750;
/** A client waits 5 s for a link; what there is in its way may make that seem shorter. */
const AT_LEAST_MS = 4_000;
/** The serial port notices a little later, by a beat of its own; on a busy machine it may be the first. */
const SILENT = new RegExp(
  `the (?:peer|other side of the serial port) was silent for (?:${3 * HEARTBEAT}|10) s`,
);
const RESET = { how: 'ECONNRESET', bytes: 0 };

export async function pauseCases(cases: Cases, scene: Scene): Promise<void> {
  const { pair, port, watching, claimed, holder } = scene;
  const { monitor } = pair.vm;

  await cases.case(
    'a pause that is shorter than a heart-beat: a transfer goes on, every byte is there',
    async () => {
      const transfer = await beginTransfer(port);
      await monitor.pause();
      await delay(SHORT_MS);
      await monitor.resume();
      await transfer.done();
      same(pair.downs, [], 'why links went down');
      await scene.settled();
    },
  );

  let fates: readonly string[] = [];
  const paused = await cases.case(
    'a pause of more than three heart-beats: the host agent gives the link up, ports stay, clients wait 5 s for it',
    async () => {
      ({ fates } = await scene.seen());
      const open = await connectTo(watching);
      same((await readExactly(open, 5)).toString(), 'ready', 'the greeting');
      const fate = fateOf(open);
      const before = await pair.published();
      await monitor.pause();
      await until('the host agent to notice', () => pair.downs.length > 0, WAIT_MS);
      matches(pair.downs[0]!, SILENT, 'why the link is down');
      same((await fate).how, 'ECONNRESET', 'the fate of a client');
      same((await listForwards(pair.api)).vms[0]!.up, false, 'whether the link is up');
      same(await pair.published(), before, 'what is published');
      const begin = performance.now();
      const late = await Promise.all([port, hostPort(claimed)].map((each) => fateOfNew(each, 'too early')));
      same(late, [RESET, RESET], 'the fates of clients that come meanwhile');
      const waited = performance.now() - begin;
      if (waited < AT_LEAST_MS) throw new Error(`they waited ${waited.toFixed(0)} ms`);
    },
  );
  await monitor.resume();
  if (!paused) return;

  await cases.case('the guest goes on: ports are served again', async () => {
    await scene.untilServed();
  });

  await cases.case(
    'the guest goes on: claims are held, connections of before are reset, and nothing is left of them',
    async () => {
      await pair.shell.must(`kill -0 ${holder}`);
      same(await pair.shell.must('cat /port/held/ctl'), `OK ${claimed}`, 'what ctl says');
      const now = async () =>
        JSON.stringify((await scene.seen()).fates) === JSON.stringify([...fates, 'ECONNRESET']);
      await until('the container to be reset', now, WAIT_MS);
      await scene.settled();
      await (await beginTransfer(hostPort(claimed))).done();
      same(pair.downs.length, 1, 'links that went down');
    },
  );
}
