/** Group `docker`: dockerd in the guest publishes by portferry-proxy on this machine. */
import { until } from '../../helpers/processes.ts';
import { refuses } from '../../helpers/stream-client.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import { datagram, untilServed } from './clients.ts';
import { MAKE_ROOT, ROOT, SERVE, VOLUME } from './container.ts';
import type { Answer } from './guest-shell.ts';
import { freePort, takePort } from './ports.ts';
import { SerialPair } from './serial-pair.ts';
import type { Vm } from './vm.ts';

/** How long dockerd may take to start, milliseconds: half a minute, when the machine has nothing else to do. */
const DOCKERD_MS = 200_000;
const DOCKERD_LOG = '/tmp/dockerd.log';
const SCRIPT = '/payload/vm-shim/bin/portferry-proxy';
export async function run(cases: Cases, vm: Vm): Promise<void> {
  const pair = new SerialPair(vm);
  const failed = cases.failed;
  let dockerd = '';
  try {
    const what = 'dockerd starts beside a mounted shim, whose host agent is outside';
    const started = await cases.case(
      what,
      async () => {
        await pair.start();
        await pair.mount();
        dockerd = await pair.startInGuest(`dockerd --userland-proxy-path ${SCRIPT}`, DOCKERD_LOG);
        await pair.untilSaid(DOCKERD_LOG, 'API listen on', dockerd, DOCKERD_MS);
        await pair.shell.must(`${MAKE_ROOT} && tar c -C ${ROOT} . | docker import - tiny`);
      },
      2 * DOCKERD_MS,
    );
    if (started) await dockerCases(cases, pair, dockerd);
  } finally {
    if (cases.failed > failed) await pair.tell();
    await pair.shell.run('umount /port').catch(() => {});
    await pair.close();
  }
}

async function dockerCases(cases: Cases, pair: SerialPair, dockerd: string): Promise<void> {
  const { shell } = pair;
  const [web, echo] = [await freePort(), await freePort()];
  const start = (flags: string): Promise<Answer> =>
    shell.run(`docker run -d ${flags} ${VOLUME} tiny ${SERVE}`);
  const freed = async () => {
    await until('nothing to be published', async () => (await pair.published()).length === 0, WAIT_MS);
    same(await refuses(web), true, 'the port refuses');
  };

  await cases.case('docker run -p PORT:80 -p PORT:5353/udp: both are reached from outside', async () => {
    const { code, said } = await start(`--name web -p ${web}:80 -p ${echo}:5353/udp`);
    same(code, 0, `docker run, which says ${said}`);
    await untilServed(web);
    same(await datagram(echo, 'by docker'), 'by docker', 'the datagram');
    const specs = (await pair.published()).map((spec) => spec.replace(/172\.\d+\.\d+\.\d+/, 'IP')).sort();
    const expected = ['0.0.0.0', '[::]'].flatMap((any) => [
      `tcp:${any}:${web}:tcp:IP:80`,
      `udp:${any}:${echo}:udp:IP:5353`,
    ]);
    same(specs, expected.sort(), 'what is published');
  });

  await cases.case('a port that somebody outside has: docker run says what the host agent says', async () => {
    const { port, release } = await takePort();
    const { code, said } = await start(`-p ${port}:80`);
    release();
    same(code, 125, 'the exit code of docker run');
    const text = `Error starting userland proxy: Bind for 0\\.0\\.0\\.0:${port} failed: port is already allocated`;
    matches(said, new RegExp(text), 'what it says');
  });

  await cases.case('docker stop frees the ports outside', async () => {
    await shell.must('docker stop web');
    await freed();
  });

  await cases.case('docker start publishes them again; kill -9 of dockerd frees them', async () => {
    await shell.must('docker start web');
    await untilServed(web);
    await shell.must(`kill -KILL ${dockerd}`);
    await freed();
  });
}
