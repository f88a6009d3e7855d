/**
 * Stands in for a mounted control filesystem where the kernel has no 9P client: a directory whose entries are joined to a
 * real tree. What it can show is what a shell script does: which descriptors it holds, and for how long, what it writes
 * and says, how it takes signals. What it cannot show is how the kernel's client behaves: `ctl` is a fifo, made by the
 * script's own mkdir (port-directory.sh), and closing the last opening of it is what ends a claim.
 */
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ClaimedPort, claimPort } from '../../shared/portfs/claim-port.ts';
import { parseAddress } from '../../shared/transport/address.ts';
import { dial } from '../../shared/transport/dial.ts';

const opened = promisify(open);

export class PortDirectory {
  readonly path: string;
  private readonly control: string;
  private readonly seen = new Set<string>();
  private readonly timer: NodeJS.Timeout;
  private readonly serving = new Set<Promise<void>>();

  /** @param control URL of the tree that the entries are joined to */
  constructor(path: string, control: string) {
    this.path = path;
    this.control = control;
    mkdirSync(path);
    writeFileSync(join(path, 'README'), 'a stand-in');
    this.timer = setInterval(() => this.look(), 10);
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    // Whoever still waits for an opening that never came gets one, and its end.
    for (const name of this.seen) {
      try {
        closeSync(openSync(join(this.path, name, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK));
      } catch {
        // Nobody waits there.
      }
    }
    await Promise.all(this.serving);
  }

  private look(): void {
    for (const entry of readdirSync(this.path, { withFileTypes: true })) {
      const { name } = entry;
      if (!entry.isDirectory() || this.seen.has(name) || !existsSync(join(this.path, name, 'ctl'))) continue;
      this.seen.add(name);
      const served = this.serve(name).finally(() => this.serving.delete(served));
      this.serving.add(served);
    }
  }

  private async serve(name: string): Promise<void> {
    // Opening a fifo waits for a writer (fifo(7)): the script.
    const fd = await opened(join(this.path, name, 'ctl'), 'r');
    const ctl = new Socket({ fd, readable: true, writable: false });
    let claim: Promise<ClaimedPort> | undefined;
    ctl.once('data', (spec: Buffer) => {
      claim = dial(parseAddress(this.control), new AbortController().signal).then((stream) =>
        claimPort(stream, name, spec.toString()),
      );
      claim.then(
        ({ resolved }) => this.answer(name, `OK ${resolved}\n`),
        (error: Error) => this.answer(name, `ERROR ${error.message}\n`),
      );
    });
    await new Promise((resolve) => ctl.on('close', resolve));
    await (await claim?.catch(() => undefined))?.release();
  }

  private answer(name: string, text: string): void {
    const path = join(this.path, name, 'answer');
    writeFileSync(`${path}.part`, text);
    renameSync(`${path}.part`, path);
  }
}
