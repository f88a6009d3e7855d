import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listForwards } from '../../helpers/api.ts';
import { logLines, type Running, startPortferry, untilLinked } from '../../helpers/processes.ts';
import { Carrier } from '../carrier.ts';
import { WAIT_MS } from '../cases.ts';
import { LINK_DEVICE } from './guest-script.ts';
import type { GuestShell } from './guest-shell.ts';

/** What groups outside the guest are given. */
export interface Vm {
  readonly shell: GuestShell;
  /** The chardev of the port that the shim listens on. */
  readonly linkSocket: string;
}

const SHIM_LOG = '/tmp/shim.log';
/** In the guest; where the shim serves its control filesystem. */
const PORT_FS = 'unix:///run/portferry.sock';

/** A VM shim in the guest and a host agent on this machine, joined by a virtio-serial port. */
export class SerialPair extends Carrier {
  readonly folder = mkdtempSync(join(tmpdir(), 'portferry-'));
  readonly api = join(this.folder, 'api.sock');
  readonly shell: GuestShell;
  host!: Running;
  private readonly url: string;
  private shim = '';
  /** What was started in the guest and is ended with us. */
  private started: string[] = [];

  constructor({ shell, linkSocket }: Vm) {
    super();
    this.shell = shell;
    this.url = `serial+unix://${linkSocket}`;
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

  startHost(): void {
    const publish = ['--api', this.api, '--unix-directory', this.folder];
    this.host = startPortferry('host-agent', '--connect', this.url, ...publish);
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
    this.started.push(pid);
    return pid;
  }

  /** Reboots the guest, in which nothing of ours runs then. */
  async reboot(): Promise<void> {
    this.started = [];
    await this.shell.reboot();
  }

  /** Waits until a program of the guest has said something. */
  async untilSaid(log: string, text: string, pid: string): Promise<void> {
    const wait = `until grep -q '${text}' ${log}; do kill -0 ${pid} || break; sleep 0.2; done; grep -q '${text}' ${log}`;
    const { code } = await this.shell.run(wait);
    if (code === 0) return;
    const { said } = await this.shell.run(`tail -n 20 ${log}`);
    throw new Error(`"${text}" was not said, but:\n${said}`);
  }

  /** Why links of the host agent that runs now went down. */
  get downs(): string[] {
    return logLines(this.host.stderr()).flatMap(({ msg }) =>
      msg?.startsWith('link is down: ') === true ? [msg.slice('link is down: '.length)] : [],
    );
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
