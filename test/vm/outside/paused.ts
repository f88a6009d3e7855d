/** Group `paused`: the guest stands still for a while, and goes on in another QEMU from where it was saved. */
import type { Cases } from '../cases.ts';
import { pauseCases } from './pause-cases.ts';
import { HEARTBEAT, makeScene, type Scene } from './scene.ts';
import { SerialPair } from './serial-pair.ts';
import { snapshotCases } from './snapshot-cases.ts';
import type { Vm } from './vm.ts';

export async function run(cases: Cases, vm: Vm): Promise<void> {
  const pair = new SerialPair(vm);
  const failed = cases.failed;
  try {
    let scene: Scene | undefined;
    await cases.case(
      `a heart-beat of ${HEARTBEAT} s, ports of the API and of a claimer in the guest`,
      async () => {
        scene = await makeScene(pair);
      },
    );
    if (scene === undefined) return;
    await pauseCases(cases, scene);
    await snapshotCases(cases, scene);
  } finally {
    if (cases.failed > failed) await pair.tell();
    await pair.shell.run('umount /port').catch(() => {});
    await pair.close();
  }
}
