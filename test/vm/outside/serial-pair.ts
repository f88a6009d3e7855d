import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listForwards } from '../../helpers/api.ts';
import { boundPorts } from '../../helpers/bound-ports.ts';
import { descriptorCount } from '../../helpers/process-figures.ts';
import { logLines, PORT_RANGE, type Running, startPortferry, untilLinked } from '../../helpers/processes.ts';
import { Carrier } from '../carrier.ts';
import { WAIT_MS } from '../cases.ts';
import { LINK_DEVICE } from './guest-script.ts';
import type { GuestShell } from './guest-shell.ts';
import type { Vm } from './vm.ts';

const SHIM_LOG = '/tmp/shim.log';
/** In the guest; where the shim serves its control filesystem. */
const PORT_FS = 'unix:///run/portferry.sock';

/** A VM shim in the guest and a host agent on this machine, joined by a virtio-serial port. */
export class SerialPair extends Carrier {
  readonly folder = mkdtempSync(join(tmpdir(), 'portferry-'));
  readonly api = join(this.folder, 'api.sock');
  readonly vm: Vm;
  host!: Running;
  private readonly url: string;
  private shim = '';
  /** What was started in the guest and is ended with us. */
  private started: readonly string[] = [];
  private saved: readonly string[] = [];

  constructor(vm: Vm) {
    super();
    this.vm = vm;
    this.url = `serial+unix://${vm.linkSocket}`;
  }

  /** Of the guest that runs now. */
  get shell(): GuestShell {
    return this.vm.shell;
  }

  /** Starts both, and waits for the link. @param options of vm-shim */
  async start(...options: string[]): Promise<void> {
    await this.startShim(...options);
    this.startHost();
    await this.linked();
  }

  /** Resolves when it listens. */
  async startShim(...options: string[]): Promise<void> {
    const words = ['vm-shim', '--listen', `serial://${LINK_DEVICE}`, '--port-fs', PORT_FS, ...options];
    this.shim = await this.startInGuest(`node dist/portferry.js ${words.join(' ')}`, SHIM_LOG);
    await this.untilSaid(SHIM_LOG, 'the VM shim listens', this.shim);
  }

  startHost(...options: string[]): void {
    const publish = ['--api', this.api, '--unix-directory', this.folder, '--port-range', PORT_RANGE];
    this.host = startPortferry('host-agent', '--connect', this.url, ...publish, ...options);
  }

  async linked(): Promise<void> {
    await untilLinked(this.host, this.api, WAIT_MS);
  }

  async killShim(): Promise<void> {
    await this.endShim('KILL');
  }

  /** Mounts the control filesystem at /port. */
  async mount(): Promise<void> {
    await this.shell.must(`cd /payload; node dist/portferry.js vm-shim mount /port --port-fs ${PORT_FS}`);
  }

  /** Resolves when it has exited. */
  async endShim(signal: 'TERM' | 'KILL'): Promise<void> {
    const { shim } = this;
    await this.shell.must(`kill -${signal} ${shim}; while kill -0 ${shim} 2>/dev/null; do sleep 0.1; done`);
  }

  /** Seconds of processor time that the shim has used, as the guest counts. */
  async shimSeconds(): Promise<number> {
    const fields = (await this.shell.must(`cat /proc/${this.shim}/stat`)).replace(/^.*\) /, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100; // utime and stime of proc(5), in USER_HZ
  }

  /** Starts something in the payload's folder that goes on. @returns its pid in the guest */
  async startInGuest(command: string, log: string): Promise<string> {
    const pid = await this.shell.must(`cd /payload; setsid ${command} >${log} 2>&1 & echo $!`);
    this.started = [...this.started, pid];
    return pid;
  }

  /** Saves the guest, which stands still meanwhile. */
  async save(name: string): Promise<void> {
    await this.vm.monitor.save(name);
    this.saved = this.started;
  }

  /** Continues from there in another QEMU, when the last one was killed. */
  async restore(name: string): Promise<void> {
    this.started = this.saved;
    await this.vm.restore(name);
  }

  /** Reboots the guest, in which nothing of ours runs then. */
  async reboot(): Promise<void> {
    this.started = [];
    await this.shell.reboot();
  }

  /** Waits until a program of the guest has said something. */
  async untilSaid(log: string, text: string, pid: string, limitMs = WAIT_MS): Promise<void> {
    const end = performance.now() + limitMs;
    // Shorter than an order may be.
    const wait = `for each in $(seq 50); do grep -q '${text}' ${log} && exit 0; kill -0 ${pid} || exit 0; sleep 0.2; done; exit 1`;
    while ((await this.shell.run(wait)).code !== 0 && performance.now() < end);
    if ((await this.shell.run(`grep -q '${text}' ${log}`)).code === 0) return;
    const { said } = await this.shell.run(`tail -n 20 ${log}`);
    throw new Error(`"${text}" was not said, but:\n${said}`);
  }

  /** Why links of the host agent that runs now went down. */
  get downs(): string[] {
    return logLines(this.host.stderr()).flatMap(({ msg }) =>
      msg?.startsWith('link is down: ') === true ? [msg.slice('link is down: '.length)] : [],
    );
  }

  /** What the host agent made of the claims that the shim has said on each new link, where there were any on either side. */
  get reconciled(): Array<{ kept: unknown; added: unknown; dropped: unknown }> {
    return logLines(this.host.stderr())
      .filter(({ msg }) => msg === 'claims of the VM shim')
      .map(({ kept, added, dropped }) => ({ kept, added, dropped }));
  }

  /** How many descriptors each side has, and the ports that the host agent has bound. */
  async open(): Promise<{ host: number | undefined; shim: number; ports: string[] }> {
    const shim = Number(await this.shell.must(`ls /proc/${this.shim}/fd | wc -l`));
    return { host: descriptorCount(this.host.pid), shim, ports: boundPorts(this.host.pid) };
  }

  async published(): Promise<string[]> {
    return (await listForwards(this.api)).forwards.map(({ spec }) => spec);
  }

  /** For whoever looks for the reason of a failure. */
  async tell(): Promise<void> {
    const { said } = await this.shell
      .run(`tail -n 20 ${SHIM_LOG}`)
      .catch((error: Error) => ({ said: error.message }));
    console.log(`       the shim:\n${said}\n       the host agent:`);
    console.log(this.host?.stderr().split('\n').slice(-20).join('\n'));
  }

  async close(): Promise<void> {
    await this.host?.kill('SIGKILL');
    await this.shell.run(`kill -KILL ${this.started.join(' ')}`).catch(() => {}); // the guest may be gone
    rmSync(this.folder, { recursive: true, force: true });
  }
}
