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
  openSync,
  readdirSync,
  readSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type ClaimedPort, claimPort } from '../../shared/portfs/claim-port.ts';
import { parseAddress } from '../../shared/transport/address.ts';
import { dial } from '../../shared/transport/dial.ts';

const LOOK_MS = 10;

export class PortDirectory {
  readonly path: string;
  private readonly control: string;
  private readonly seen = new Set<string>();
  private readonly timer: NodeJS.Timeout;
  private readonly serving = new Set<Promise<void>>();
  private closing = false;

  /** @param control URL of the tree that the entries are joined to */
  constructor(path: string, control: string) {
    this.path = path;
    this.control = control;
    mkdirSync(path);
    writeFileSync(join(path, 'README'), 'a stand-in');
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    this.closing = true;
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

  /**
   * Looks into the fifo again and again: to open it and wait for its writer would take a thread of libuv's pool, of which
   * there are four, for each script that ends before it opens it (fifo(7)).
   */
  private async serve(name: string): Promise<void> {
    const fd = openSync(join(this.path, name, 'ctl'), constants.O_RDONLY | constants.O_NONBLOCK);
    let claim: Promise<ClaimedPort> | undefined;
    let hadWriter = false;
    while (!this.closing) {
      const spec = readSome(fd);
      if (spec === '' && hadWriter) break;
      hadWriter ||= spec !== '';
      if (spec !== undefined && spec !== '') claim ??= this.claim(name, spec);
      await delay(LOOK_MS);
    }
    closeSync(fd);
    await (await claim?.catch(() => undefined))?.release();
  }

  private claim(name: string, spec: string): Promise<ClaimedPort> {
    const claim = dial(parseAddress(this.control), new AbortController().signal).then((stream) =>
      claimPort(stream, name, spec),
    );
    claim.then(
      ({ resolved }) => this.answer(name, `OK ${resolved}\n`),
      (error: Error) => this.answer(name, `ERROR ${error.message}\n`),
    );
    return claim;
  }

  private answer(name: string, text: string): void {
    const path = join(this.path, name, 'answer');
    writeFileSync(`${path}.part`, text);
    renameSync(`${path}.part`, path);
  }
}

/** What is in a fifo: '' when nobody has it open for writing, undefined when somebody has and has said nothing. */
function readSome(fd: number): string | undefined {
  const bytes = Buffer.alloc(4_096);
  try {
    return bytes.toString('utf8', 0, readSync(fd, bytes));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    throw error;
  }
}
