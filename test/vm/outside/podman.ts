/** Group `podman`: podman in the guest publishes on this machine through the shim's gateway API. */
import { until } from '../../helpers/processes.ts';
import { refuses } from '../../helpers/stream-client.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import { datagram, untilServed } from './clients.ts';
import { MAKE_ROOT, ROOT, SERVE, VOLUME } from './container.ts';
import type { Answer } from './guest-shell.ts';
import { freePort, takePort } from './ports.ts';
import { SerialPair } from './serial-pair.ts';
import type { Vm } from './vm.ts';

const GATEWAY = '192.168.127.1';

/** What docs/integrations.md asks for, and a podman without systemd. */
const PREPARE = `
mkdir -p /etc/containers /var/tmp
: >/etc/containers/podman-machine
grep -q gateway /etc/hosts || echo '${GATEWAY} gateway.containers.internal' >>/etc/hosts
ip address add ${GATEWAY}/32 dev lo
cat >/etc/containers/containers.conf <<'END'
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
END
${MAKE_ROOT}
`;

export async function run(cases: Cases, vm: Vm): Promise<void> {
  const pair = new SerialPair(vm);
  const failed = cases.failed;
  try {
    const started = await cases.case('the shim answers where podman looks for gvproxy', async () => {
      await pair.shell.must(PREPARE);
      await pair.start('--gateway-api', `${GATEWAY}:80`);
      same(await forwarded(pair), '[]', 'what is forwarded');
    });
    if (started) await podmanCases(cases, pair);
  } finally {
    if (cases.failed > failed) await pair.tell();
    await pair.close();
  }
}

function forwarded({ shell }: SerialPair): Promise<string> {
  return shell.must('wget -q -O - http://gateway.containers.internal/services/forwarder/all');
}

async function podmanCases(cases: Cases, pair: SerialPair): Promise<void> {
  const { shell } = pair;
  const [web, echo] = [await freePort(), await freePort()];
  const start = (flags: string): Promise<Answer> =>
    shell.run(`podman run -d ${flags} ${VOLUME} --rootfs ${ROOT} ${SERVE}`);
  const reached = async (text: string): Promise<void> => {
    await untilServed(web);
    same(await datagram(echo, text), text, 'the datagram');
  };

  await cases.case('podman run -p PORT:80 -p PORT:5353/udp: both are reached from outside', async () => {
    const { code, said } = await start(`--name web -p ${web}:80 -p ${echo}:5353/udp`);
    same(code, 0, `podman run, which says ${said}`);
    await reached('by podman');
    const specs = [`tcp:0.0.0.0:${web}:tcp:${GATEWAY}:${web}`, `udp:0.0.0.0:${echo}:udp:${GATEWAY}:${echo}`];
    same((await pair.published()).sort(), specs, 'what is published');
  });

  await cases.case('the host agent is killed and started again: both are reached again', async () => {
    await pair.host.kill('SIGKILL');
    pair.startHost();
    await pair.linked();
    await reached('again');
  });

  await cases.case('a port that somebody outside has: podman run says what the host agent says', async () => {
    const { port, release } = await takePort();
    const { code, said } = await start(`-p ${port}:80`);
    release();
    same(code, 126, 'the exit code of podman run');
    matches(
      said,
      new RegExp(`Bind for 0\\.0\\.0\\.0:${port} failed: port is already allocated`),
      'what it says',
    );
  });

  await cases.case('podman stop frees the ports outside', async () => {
    await shell.must('podman stop -t 1 web');
    await until('nothing to be published', async () => (await pair.published()).length === 0, WAIT_MS);
    same(await refuses(web), true, 'the port refuses');
    same(await forwarded(pair), '[]', 'what is forwarded');
  });
}
