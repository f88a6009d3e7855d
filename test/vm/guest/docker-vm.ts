import { mkdirSync, mkdtempSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { listForwards } from '../../helpers/api.ts';
import {
  PROGRAM,
  type Running,
  startPortferry,
  startProgram,
  until,
  untilLinked,
} from '../../helpers/processes.ts';
import { WAIT_MS } from './cases.ts';
import { Namespace } from './namespace.ts';
import { mustRun, runProgram } from './p9-mount.ts';
import { said } from './p9-sides.ts';

const SCRIPT = fileURLToPath(new URL('../../../../vm-shim/bin/portferry-proxy', import.meta.url));
const CONTAINER = fileURLToPath(new URL('docker-container.js', import.meta.url));
const CLIENT = fileURLToPath(new URL('docker-client.js', import.meta.url));
/** All that the image has is what brings a container to the guest's own node. */
const MAKE_IMAGE =
  'mkdir -p "$1/bin" && cp /bin/busybox "$1/bin" && ln -s busybox "$1/bin/chroot" && tar c -C "$1" . | docker import - tiny';

/** How long dockerd may take to start, milliseconds: half a minute in a guest, when the machine has nothing else to do. */
export const DOCKERD_MS = 200_000;

/** The guest as a VM with dockerd, a shim and its mount. The host agent and clients have a network of their own in it. */
export class DockerVm {
  readonly api: string;
  private readonly folder: string;
  private readonly host: Namespace;
  private readonly running: Running[] = [];
  private dockerd: Running | undefined;

  private constructor(host: Namespace) {
    this.host = host;
    this.folder = mkdtempSync('/tmp/docker-');
    this.api = `${this.folder}/api.sock`;
  }

  static async make(): Promise<DockerVm> {
    return new DockerVm(await Namespace.make());
  }

  /** Everything but containers. */
  async start(): Promise<void> {
    const [link, portFs] = [`unix://${this.folder}/link.sock`, `unix://${this.folder}/fs.sock`];
    const shim = this.track(startPortferry('vm-shim', '--listen', link, '--port-fs', portFs));
    await said(shim, 'the control filesystem is served');
    const agent = this.track(this.host.startPortferry('host-agent', '--connect', link, '--api', this.api));
    await untilLinked(agent, this.api, WAIT_MS);
    await mustRun(process.execPath, PROGRAM, 'vm-shim', 'mount', '/port', '--port-fs', portFs);
    this.dockerd = this.track(startProgram('dockerd', ['--userland-proxy-path', SCRIPT]));
    await said(this.dockerd, 'API listen on', DOCKERD_MS);
    const image = `${this.folder}/image`;
    mkdirSync(image);
    await mustRun('sh', '-c', MAKE_IMAGE, 'sh', image);
  }

  /** Starts a container that serves HTTP and an echo of datagrams. @param flags of docker run */
  runContainer(...flags: string[]): Promise<{ code: number; said: string }> {
    const command = ['tiny', 'chroot', '/vm', process.execPath, CONTAINER];
    return runProgram('docker', 'run', '-d', ...flags, '-v', '/:/vm:ro', ...command);
  }

  /** What a client on the host gets from a port of its loopback, or why it gets nothing. */
  async http(port: number): Promise<string> {
    const command = this.host.command('wget', '-q', '-O', '-', `http://127.0.0.1:${port}/`);
    return (await runProgram(...command)).said;
  }

  /** What comes back to a client on the host that sends a datagram. */
  async datagram(port: number, text: string): Promise<string> {
    const client = this.track(this.host.startNode(CLIENT, `${port}`, text));
    await until('the datagram to come back', () => client.stdout().endsWith('\n'), WAIT_MS);
    return client.stdout().trimEnd();
  }

  async published(): Promise<string[]> {
    return (await listForwards(this.api)).forwards.map(({ spec }) => spec);
  }

  async killDockerd(): Promise<void> {
    await this.dockerd!.kill('SIGKILL');
  }

  async close(): Promise<void> {
    await Promise.all(this.running.map((each) => each.kill('SIGKILL')));
    await this.host.close();
  }

  private track(running: Running): Running {
    this.running.push(running);
    return running;
  }
}
