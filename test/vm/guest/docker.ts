/**
 * Group `docker`: dockerd with portferry-proxy. The guest is the VM; the host agent runs in it too, in a network of its
 * own, where the clients are as well.
 */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { callApi, listForwards } from '../../helpers/api.ts';
import {
  PROGRAM,
  type Running,
  startPortferry,
  startProgram,
  until,
  untilLinked,
} from '../../helpers/processes.ts';
import { type Cases, matches, same, WAIT_MS } from './cases.ts';
import { Namespace } from './namespace.ts';
import { mustRun, runProgram } from './p9-mount.ts';
import { said } from './p9-sides.ts';

const SCRIPT = fileURLToPath(new URL('../../../../vm-shim/bin/portferry-proxy', import.meta.url));
const CONTAINER = fileURLToPath(new URL('docker-container.js', import.meta.url));
const CLIENT = fileURLToPath(new URL('docker-client.js', import.meta.url));
const HELLO = 'hello from the container';
/** All that the image has is what brings a container to the guest's own node. */
const MAKE_IMAGE =
  'mkdir -p "$1/bin" && cp /bin/busybox "$1/bin" && ln -s busybox "$1/bin/chroot" && tar c -C "$1" . | docker import - tiny';

export async function run(cases: Cases): Promise<void> {
  const folder = mkdtempSync('/tmp/docker-');
  const api = `${folder}/api.sock`;
  const host = await Namespace.make();
  const running: Running[] = [];
  let dockerd: Running | undefined;

  const published = async () => (await listForwards(api)).forwards.map(({ spec }) => spec);
  const nothingPublished = () =>
    until('nothing to be published', async () => (await published()).length === 0, WAIT_MS);
  const docker = (...args: string[]) => runProgram('docker', ...args);
  const runContainer = (...flags: string[]) =>
    docker('run', '-d', ...flags, '-v', '/:/vm:ro', 'tiny', 'chroot', '/vm', process.execPath, CONTAINER);
  const http = (port: number) =>
    mustRun(...host.command('wget', '-q', '-O', '-', `http://127.0.0.1:${port}/`));
  const served = (port: number) =>
    until(`port ${port} to be served`, async () => (await http(port).catch(() => '')) === HELLO, WAIT_MS);
  const refused = async (port: number) => matches(await http(port).catch(String), /refused/, 'a client');

  try {
    const up = await cases.case(
      'dockerd starts beside a mount of the shim (the host agent is in the guest too)',
      async () => {
        const shim = startPortferry(
          'vm-shim',
          '--listen',
          `unix://${folder}/link.sock`,
          '--port-fs',
          `unix://${folder}/fs.sock`,
        );
        running.push(shim);
        await said(shim, 'the control filesystem is served');
        const agent = host.startPortferry(
          'host-agent',
          '--connect',
          `unix://${folder}/link.sock`,
          '--api',
          api,
        );
        running.push(agent);
        await untilLinked(agent, api, WAIT_MS);
        await mustRun(
          process.execPath,
          PROGRAM,
          'vm-shim',
          'mount',
          '/port',
          '--port-fs',
          `unix://${folder}/fs.sock`,
        );
        mkdirSync(`${folder}/image`);
        dockerd = startProgram('dockerd', ['--userland-proxy-path', SCRIPT, '--log-level', 'warn']);
        running.push(dockerd);
        const answers = async () => {
          if (dockerd!.child.exitCode !== null) throw new Error(`dockerd ended: ${dockerd!.stderr()}`);
          return (await docker('version')).code === 0;
        };
        await until('dockerd to answer', answers, DOCKERD_MS);
        await mustRun('sh', '-c', MAKE_IMAGE, 'sh', `${folder}/image`);
      },
    );
    if (!up) return;

    await cases.case('docker run -p 8080:80 -p 5353:5353/udp: both are reached on the host', async () => {
      const { code, said } = await runContainer('--name', 'web', '-p', '8080:80', '-p', '5353:5353/udp');
      same(code, 0, `docker run: ${said}`);
      await served(8_080);
      const client = host.startNode(CLIENT, '5353', 'by docker');
      running.push(client);
      await until('the datagram to come back', () => client.stdout() === 'by docker\n', WAIT_MS);
      const specs = (await published()).map((spec) => spec.replace(/172\.\d+\.\d+\.\d+/, 'IP')).sort();
      same(
        specs,
        [
          'tcp:0.0.0.0:8080:tcp:IP:80',
          'tcp:[::]:8080:tcp:IP:80',
          'udp:0.0.0.0:5353:udp:IP:5353',
          'udp:[::]:5353:udp:IP:5353',
        ],
        'what is published',
      );
    });

    await cases.case(
      'a port that the host has given away: docker run fails with what the host says',
      async () => {
        const spec = 'tcp:0.0.0.0:8082:tcp:127.0.0.1:9';
        same((await callApi(api, 'POST', { spec })).status, 201, 'exposing it');
        const { code, said } = await runContainer('-p', '8082:80');
        same(code, 125, 'the exit code of docker run');
        matches(
          said,
          /Error starting userland proxy: Bind for 0\.0\.0\.0:8082 failed: port is already allocated\./,
          'what it says',
        );
        same((await callApi(api, 'DELETE', { spec })).status, 200, 'removing it');
      },
    );

    await cases.case('docker stop frees the ports', async () => {
      same((await docker('stop', 'web')).code, 0, 'docker stop');
      await nothingPublished();
      await refused(8_080);
    });

    await cases.case('docker start publishes them again; kill -9 of dockerd frees them', async () => {
      same((await docker('start', 'web')).code, 0, 'docker start');
      await served(8_080);
      await dockerd!.kill('SIGKILL');
      await nothingPublished();
      await refused(8_080);
    });
  } finally {
    if (cases.failed > 0 && dockerd !== undefined) console.log(dockerd.stderr().slice(-2_000));
    await Promise.all(running.map((each) => each.kill('SIGKILL')));
    await host.close();
  }
}
