/** Group `docker`: dockerd that publishes by portferry-proxy. Host agent and VM shim are in one guest here. */
import { callApi } from '../../helpers/api.ts';
import { until } from '../../helpers/processes.ts';
import { type Cases, matches, same, WAIT_MS } from './cases.ts';
import { DOCKERD_MS, DockerVm } from './docker-vm.ts';
import { runProgram } from './p9-mount.ts';

const HELLO = 'hello from the container';

export async function run(cases: Cases): Promise<void> {
  const vm = await DockerVm.make();
  try {
    const what = 'dockerd starts beside a mounted shim (the host agent runs in the same guest)';
    if (await cases.case(what, () => vm.start(), 2 * DOCKERD_MS)) await dockerCases(cases, vm);
  } finally {
    await vm.close();
  }
}

async function dockerCases(cases: Cases, vm: DockerVm): Promise<void> {
  const served = (port: number) =>
    until(`port ${port} to be served`, async () => (await vm.http(port)) === HELLO, WAIT_MS);
  const freed = async () => {
    await until('nothing to be published', async () => (await vm.published()).length === 0, WAIT_MS);
    matches(await vm.http(8_080), /refused/, 'what a client is told');
  };

  await cases.case('docker run -p 8080:80 -p 5353:5353/udp: both are reached on the host', async () => {
    const { code, said } = await vm.runContainer('--name', 'web', '-p', '8080:80', '-p', '5353:5353/udp');
    same(code, 0, `docker run, which says ${said}`);
    await served(8_080);
    same(await vm.datagram(5_353, 'by docker'), 'by docker', 'the datagram');
    const specs = (await vm.published()).map((spec) => spec.replace(/172\.\d+\.\d+\.\d+/, 'IP')).sort();
    const expected = ['0.0.0.0', '[::]'].flatMap((any) => [
      `tcp:${any}:8080:tcp:IP:80`,
      `udp:${any}:5353:udp:IP:5353`,
    ]);
    same(specs, expected.sort(), 'what is published');
  });

  await cases.case('a port that the host has given away: docker run says what the host says', async () => {
    const spec = 'tcp:0.0.0.0:8082:tcp:127.0.0.1:9';
    same((await callApi(vm.api, 'POST', { spec })).status, 201, 'exposing it');
    const { code, said } = await vm.runContainer('-p', '8082:80');
    same(code, 125, 'the exit code of docker run');
    matches(
      said,
      /Error starting userland proxy: Bind for 0\.0\.0\.0:8082 failed: port is already allocated: VM "\w+" has 0\.0\.0\.0:8082 /,
      'what it says',
    );
    same((await callApi(vm.api, 'DELETE', { spec })).status, 200, 'removing it');
  });

  await cases.case('docker stop frees the ports', async () => {
    same((await runProgram('docker', 'stop', 'web')).code, 0, 'docker stop');
    await freed();
  });

  await cases.case('docker start publishes them again; kill -9 of dockerd frees them', async () => {
    same((await runProgram('docker', 'start', 'web')).code, 0, 'docker start');
    await served(8_080);
    await vm.killDockerd();
    await freed();
  });
}
