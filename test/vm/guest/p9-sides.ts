import { fileURLToPath } from 'node:url';
import { type Running, startPortferry, until, untilLinked } from '../../helpers/processes.ts';
import { WAIT_MS } from '../cases.ts';
import { said } from '../programs.ts';
import type { Containers } from './containers.ts';
import { Namespace } from './namespace.ts';

/** The host agent's control filesystem is served here as well. */
export const TCP_PORT = 5_640;

/** A host agent and, in a network of its own, a VM shim with stand-in containers. Both serve the control filesystem. */
export class Sides {
  readonly vm: Namespace;
  readonly folder: string;
  containers!: Containers;
  host!: Running;
  shim!: Running;
  private serving!: Running;

  private constructor(vm: Namespace, folder: string) {
    this.vm = vm;
    this.folder = folder;
  }

  static async start(folder: string): Promise<Sides> {
    const sides = new Sides(await Namespace.make(), folder);
    sides.serving = sides.vm.startNode(fileURLToPath(new URL('containers.js', import.meta.url)), folder);
    await Promise.all([sides.startShim(), sides.startHost()]);
    await sides.linked();
    const { serving } = sides;
    sides.containers = await until(
      'the containers',
      () => {
        if (serving.child.exitCode !== null) throw new Error(`the containers ended: ${serving.stderr()}`);
        return serving.stdout().includes('\n') && (JSON.parse(serving.stdout()) as Containers);
      },
      WAIT_MS,
    );
    return sides;
  }

  /** Where who serves the control filesystem. */
  socket(server: Server): string {
    return `${this.folder}/${server}-control.sock`;
  }

  /** Without a word. */
  async killServer(server: Server): Promise<void> {
    await this[server].kill('SIGKILL');
  }

  /** Resolves when it serves, and the link is up. */
  async startServer(server: Server): Promise<void> {
    await (server === 'host' ? this.startHost() : this.startShim());
    await this.linked();
  }

  async close(): Promise<void> {
    await Promise.all([this.host, this.shim, this.serving].map((each) => each.kill('SIGKILL')));
    await this.vm.close();
  }

  private async startShim(): Promise<void> {
    const shim = this.vm.startPortferry(
      'vm-shim',
      ...['--listen', `unix://${this.folder}/link.sock`, '--port-fs', `unix://${this.socket('shim')}`],
    );
    this.shim = shim;
    await said(shim, 'the control filesystem is served');
  }

  private async startHost(): Promise<void> {
    this.host = startPortferry(
      'host-agent',
      ...['--connect', `unix://${this.folder}/link.sock`, '--api', this.api],
      ...['--control', `unix://${this.socket('host')}`, '--control', `tcp://127.0.0.1:${TCP_PORT}`],
    );
  }

  private get api(): string {
    return `${this.folder}/api.sock`;
  }

  private async linked(): Promise<void> {
    await untilLinked(this.host, this.api, WAIT_MS);
  }
}

export type Server = 'host' | 'shim';
