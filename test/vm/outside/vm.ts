import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { bootGuest, type Guest, type GuestOptions } from '../boot.ts';
import { Monitor } from '../monitor.ts';
import { makeOverlay } from '../overlay.ts';
import { LINK_PORT, ORDERS_PORT } from './guest-script.ts';
import { GuestShell } from './guest-shell.ts';

/** How long QEMU may take to say what its guest does, milliseconds. */
const ANSWER_MS = 10_000;

export type VmOptions = Pick<GuestOptions, 'image' | 'payload' | 'work' | 'timeoutMs'>;

/** A guest that is used from outside. It can be paused and saved, and be continued in another QEMU from what was saved. */
export class Vm {
  /** The chardev of the port that the shim listens on. */
  readonly linkSocket: string;
  private readonly options: VmOptions;
  // Not in the folder of the work: the path of a socket may have 107 bytes only.
  private readonly folder = mkdtempSync(join(tmpdir(), 'portferry-vm-'));
  private readonly disk: string;
  private readonly removeFolder = (): void => rmSync(this.folder, { recursive: true, force: true });
  private guest: Guest | undefined;
  private running: { readonly shell: GuestShell; readonly monitor: Monitor } | undefined;

  constructor(options: VmOptions) {
    this.options = options;
    this.linkSocket = join(this.folder, 'link');
    this.disk = join(options.work, 'disk.qcow2');
    process.once('exit', this.removeFolder);
  }

  /** Boots it, unless it has been; resolves when it takes orders. @throws when it does not; its console is printed then */
  async boot(): Promise<void> {
    if (this.guest !== undefined) return;
    makeOverlay(this.disk, this.options.image.root);
    await this.start();
  }

  /** Of the guest that runs now. */
  get shell(): GuestShell {
    return this.running!.shell;
  }

  get monitor(): Monitor {
    return this.running!.monitor;
  }

  /** Whether it was given up. */
  get stoodStill(): boolean {
    return this.guest?.stoodStill() === true;
  }

  /** Ends QEMU without a word to anybody. */
  async kill(): Promise<void> {
    this.guest?.stop();
    await this.guest?.ended;
  }

  /** Continues from what was saved under a name, in another QEMU, when the last one was killed. */
  async restore(name: string): Promise<void> {
    await this.start(name);
  }

  async close(): Promise<void> {
    await this.kill();
    process.off('exit', this.removeFolder);
    this.removeFolder();
    rmSync(this.disk, { force: true });
  }

  private async start(restore?: string): Promise<void> {
    const orders = join(this.folder, 'orders');
    const monitor = join(this.folder, 'monitor');
    for (const path of [orders, monitor, this.linkSocket]) rmSync(path, { force: true });
    const guest = bootGuest({
      ...this.options,
      disk: this.disk,
      monitor,
      onLine: () => {},
      onStill: () => this.tell(),
      ports: [
        { name: LINK_PORT, socket: this.linkSocket },
        { name: ORDERS_PORT, socket: orders },
      ],
      reboots: true,
      ...(restore !== undefined && { restore }),
    });
    this.guest = guest;
    try {
      const shell = await GuestShell.connect(orders, guest.giveUp);
      this.running = { shell, monitor: await Monitor.connect(monitor) };
      if (restore === undefined) await shell.booted(1);
      else await shell.must('true');
    } catch (error) {
      guest.stop();
      console.log((await guest.ended).console.slice(-40).join('\n'));
      throw error;
    }
  }

  /** Says where the processors of a guest are that stands still. */
  private async tell(): Promise<void> {
    const late = delay(ANSWER_MS, 'QEMU does not answer either', { ref: false });
    const told = this.running?.monitor.processors().catch((error: Error) => error.message);
    console.log(await Promise.race([told ?? 'QEMU was not reached yet', late]));
  }
}
