import { join } from 'node:path';
import { type ForwardList, listForwards } from '../../helpers/api.ts';
import { type Running, startPortferry, untilLinked } from '../../helpers/processes.ts';
import { Carrier } from '../carrier.ts';
import { WAIT_MS } from '../cases.ts';
import { said } from '../programs.ts';
import type { Namespace } from './namespace.ts';

export interface PairOptions {
  readonly vm: Namespace;
  readonly folder: string;
  readonly engine: 'portable' | 'linux';
  readonly lane: 'dedicated' | 'multiplexed';
  readonly port: number;
  /** For both programs. */
  readonly options?: readonly string[];
}

/** A host agent and, in another namespace, a VM shim, joined by AF_VSOCK. */
export class VsockPair extends Carrier {
  readonly shim: Running;
  readonly host: Running;
  readonly api: string;
  private readonly lane: string;

  private constructor(shim: Running, host: Running, api: string, lane: string) {
    super();
    this.shim = shim;
    this.host = host;
    this.api = api;
    this.lane = lane;
  }

  static async start({ vm, folder, engine, lane, port, options = [] }: PairOptions): Promise<VsockPair> {
    const api = join(folder, `api-${port}.sock`);
    const common = ['--engine', engine, '--log-level', 'debug', ...options];
    const listen = ['--listen', `vsock://:${port}`, '--peer-cid', '1'];
    const shim = vm.startPortferry('vm-shim', ...listen, ...common);
    const connect = ['--connect', `vsock://local:${port}`, '--api', api, '--lane', lane];
    const host = startPortferry(
      'host-agent',
      ...connect,
      '--unix-directory',
      folder,
      '--allow-reverse',
      '127.0.0.1',
      ...common,
    );
    const pair = new VsockPair(shim, host, api, lane);
    try {
      await pair.linked();
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${shim.stderr()}\n${host.stderr()}`);
    }
    return pair;
  }

  /** @throws when the lane is another one than that asked for */
  async linked(): Promise<void> {
    await said(this.host, 'link is up'); // asking the API all the time would take the processor that starting needs
    const { vms } = await untilLinked(this.host, this.api, WAIT_MS);
    const lanes = vms.map(({ lane }) => lane);
    if (lanes.length !== 1 || lanes[0] !== this.lane)
      throw new Error(`expected the ${this.lane} lane, got ${lanes.join(', ')}`);
  }

  /** What the host agent says of its VM. */
  async state(): Promise<ForwardList['vms'][number]> {
    return (await listForwards(this.api)).vms[0]!;
  }

  async killShim(): Promise<void> {
    await this.shim.kill('SIGKILL');
  }

  async close(): Promise<void> {
    await Promise.all([this.host.kill('SIGKILL'), this.shim.kill('SIGKILL')]);
  }
}
