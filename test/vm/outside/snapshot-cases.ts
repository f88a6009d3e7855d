/** What becomes of a link and both its sides when the guest goes on from where it was saved, in another QEMU. */
import { callApi } from '../../helpers/api.ts';
import { hostPort, loopback, until } from '../../helpers/processes.ts';
import { connectTo, fateOf, readExactly, refuses, roundTrip } from '../../helpers/stream-client.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import { hold } from './guest-programs.ts';
import type { Scene } from './scene.ts';
import { beginTransfer } from './transfer.ts';

const NAME = 'saved';
/** Once more, so that the shim says all that it has said before. */
const TIMES = ['', ', once more'] as const;

export async function snapshotCases(cases: Cases, scene: Scene): Promise<void> {
  const { pair, containers, port, watching, claimed, holder, seen } = scene;
  const { vm } = pair;
  /** Made through the API, and gone when the guest is restored. */
  let removed = '';
  /** Held in the guest after it was saved, so by nobody when it is restored. */
  let later = '';
  let fates: readonly string[] = [];

  const saved = await cases.case(
    'saved in the middle of a transfer: that goes on, every byte is there',
    async () => {
      removed = await pair.exposeSpec(loopback('tcp', containers.echo));
      ({ fates } = await seen());
      const idle = await connectTo(watching);
      same((await readExactly(idle, 5)).toString(), 'ready', 'the greeting');
      const transfer = await beginTransfer(hostPort(claimed));
      await pair.save(NAME);
      await transfer.done();
      idle.resetAndDestroy();
    },
  );
  if (!saved) return;

  await cases.case(
    'the guest and the host agent go on: a forward is removed, a claim ends, another is made',
    async () => {
      same((await callApi(pair.api, 'DELETE', { spec: removed })).status, 200, 'the answer of the API');
      await pair.shell.must(`kill -KILL ${holder}`);
      await until('its port to go', async () => !(await pair.published()).includes(claimed), WAIT_MS);
      ({ claimed: later } = await hold(pair, 'later', loopback('tcp', containers.echo)));
      same(await roundTrip(hostPort(later), 'later'), 'later', 'the echo');
    },
  );

  for (const again of TIMES) {
    const reconciled = pair.reconciled.length;
    await cases.case(`QEMU is killed${again}: the link is down, its clients are reset`, async () => {
      const open = await connectTo(watching);
      same((await readExactly(open, 5)).toString(), 'ready', 'the greeting');
      const fate = fateOf(open);
      const before = pair.downs.length;
      await vm.kill();
      same((await fate).how, 'ECONNRESET', 'the fate of a client');
      const why = await until('the link to be down', () => pair.downs[before], WAIT_MS);
      matches(why, /the serial port was lost/, 'why the link is down');
      same(await refuses(hostPort(later)), false, 'whether its port refuses');
    });

    await cases.case(`restored in another QEMU${again}: ports are served again`, async () => {
      await pair.restore(NAME);
      await pair.shell.must(`date -s @${Math.round(Date.now() / 1000)}`); // as agents in guests do then: its clock stood still
      await scene.untilServed();
    });

    await cases.case(
      `restored in another QEMU${again}: what there is, is what it had then and the host agent has now`,
      async () => {
        const { shell } = pair;
        const counts = again === '' ? { kept: 0, added: 1, dropped: 1 } : { kept: 1, added: 0, dropped: 1 };
        same(pair.reconciled[reconciled], counts, 'claims that were compared on the first link');
        await scene.settled(); // so the host agent has no port of what was removed, or held later
        await shell.must(`kill -0 ${holder}`);
        same(await shell.must('cat /port/held/ctl'), `OK ${claimed}`, 'what ctl says');
        const told = async () =>
          JSON.stringify((await seen()).fates) === JSON.stringify([...fates, 'ECONNRESET']);
        await until('the container to be reset', told, WAIT_MS);
        await (await beginTransfer(again === '' ? port : hostPort(claimed))).done();
      },
    );

    if (again !== '') break;
    // The shim has drawn the number of this claim before: it has forgotten that.
    const spec = loopback('tcp', containers.digesting);
    await cases.case('a claim with a number that was used before', async () => {
      ({ claimed: later } = await hold(pair, 'later', spec));
      same(await refuses(hostPort(later)), false, 'whether its port refuses');
    });
  }
}
