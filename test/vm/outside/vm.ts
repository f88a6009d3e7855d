import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootGuest, type Guest, type GuestOptions } from '../boot.ts';
import { Monitor } from '../monitor.ts';
import { makeOverlay } from '../overlay.ts';
import { LINK_PORT, ORDERS_PORT } from './guest-script.ts';
import { GuestShell } from './guest-shell.ts';

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
  private guest!: Guest;
  private running!: { readonly shell: GuestShell; readonly monitor: Monitor };

  private constructor(options: VmOptions) {
    this.options = options;
    this.linkSocket = join(this.folder, 'link');
    this.disk = join(options.work, 'disk.qcow2');
    process.once('exit', this.removeFolder);
  }

  /** Resolves when it takes orders. @throws when it does not boot; its console is printed then */
  static async boot(options: VmOptions): Promise<Vm> {
    const vm = new Vm(options);
    makeOverlay(vm.disk, options.image.root);
    await vm.start();
    return vm;
  }

  /** Of the guest that runs now. */
  get shell(): GuestShell {
    return this.running.shell;
  }

  get monitor(): Monitor {
    return this.running.monitor;
  }

  /** Ends QEMU without a word to anybody. */
  async kill(): Promise<void> {
    this.guest.stop();
    await this.guest.ended;
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
    this.guest = bootGuest({
      ...this.options,
      disk: this.disk,
      monitor,
      onLine: () => {},
      ports: [
        { name: LINK_PORT, socket: this.linkSocket },
        { name: ORDERS_PORT, socket: orders },
      ],
      reboots: true,
      ...(restore !== undefined && { restore }),
    });
    try {
      const shell = await GuestShell.connect(orders);
      this.running = { shell, monitor: await Monitor.connect(monitor) };
      if (restore === undefined) await shell.booted(1);
      else await shell.must('true');
    } catch (error) {
      this.guest.stop();
      console.log((await this.guest.ended).console.slice(-40).join('\n'));
      throw error;
    }
  }
}
