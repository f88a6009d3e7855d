import type { Duplex } from 'node:stream';
import { UNCHANGED_STAT } from '../../../shared/p9/attributes.ts';
import { ClientCalls } from '../../../shared/p9/client-calls.ts';
import { decodeDirents } from '../../../shared/p9/dirent-codec.ts';
import { decodeStats } from '../../../shared/p9/stat-codec.ts';
import { type Dialect, NO_FID } from '../../../shared/p9/types.ts';

const MSIZE = 4096;
const O_TRUNC = 0o1000;

/** One descriptor of an opened file, and the fids that Linux keeps for it. */
export interface Descriptor {
  readonly fid: number;
  readonly walked: readonly number[];
}

/** The fids of `ctl` and its directory are clunked with the file, after it. */
export interface OpenOptions {
  readonly mode?: 'r' | 'w' | 'rw';
  readonly truncate?: boolean;
}

/**
 * A mount as Linux 6.1 with cache=none makes it: for each system call the messages that were seen of the kernel, in their
 * order and with fids of their own for each walk.
 */
export class LinuxMount {
  readonly calls: ClientCalls;
  readonly dialect: Dialect;
  private root = 0;
  private lastFid = 0;

  private constructor(stream: Duplex, dialect: Dialect) {
    this.calls = new ClientCalls(stream, MSIZE);
    this.dialect = dialect;
  }

  static async mount(stream: Duplex, dialect: Dialect): Promise<LinuxMount> {
    const mount = new LinuxMount(stream, dialect);
    const { calls } = mount;
    const { version } = await calls.call('Tversion', { msize: MSIZE, version: dialect });
    if (version !== dialect) throw new Error(`got ${version}`);
    calls.dialect = dialect;
    await calls.call('Tattach', { fid: 0, afid: NO_FID, uname: 'nobody', aname: '/', nUname: 0xffff_fffe });
    await mount.getattr(0);
    if (dialect !== '9P2000') {
      // The first use by root attaches once more.
      mount.root = mount.newFid();
      await calls.call('Tattach', { fid: mount.root, afid: NO_FID, uname: '', aname: '/', nUname: 0 });
    }
    return mount;
  }

  private get linux(): boolean {
    return this.dialect === '9P2000.L';
  }

  private newFid(): number {
    return ++this.lastFid;
  }

  async walk(from: number, ...names: string[]): Promise<number> {
    const newfid = this.newFid();
    const { qids } = await this.calls.call('Twalk', { fid: from, newfid, names });
    if (qids.length !== names.length) throw new Error('partial walk');
    return newfid;
  }

  async getattr(fid: number): Promise<{ size: number; mode: number; path: bigint }> {
    if (this.linux) {
      const { size, mode, qid } = await this.calls.call('Tgetattr', { fid, mask: 0x7ffn });
      return { size: Number(size), mode, path: qid.path };
    }
    const { stat } = await this.calls.call('Tstat', { fid });
    return { size: Number(stat.length), mode: stat.mode, path: stat.qid.path };
  }

  clunk(fid: number): Promise<unknown> {
    return this.calls.call('Tclunk', { fid });
  }

  /** stat(2) of a path below the mount. */
  async stat(...path: string[]): Promise<{ size: number; mode: number; path: bigint }> {
    const fids: number[] = [];
    let fid = this.root;
    try {
      for (const name of path) {
        fid = await this.walk(fid, name);
        fids.push(fid);
        await this.getattr(fid);
      }
      return await this.getattr(fid);
    } finally {
      for (const walked of fids.reverse()) await this.clunk(walked);
    }
  }

  async mkdir(name: string): Promise<void> {
    // Linux looks first and itself says EEXIST when there is one.
    const found = await this.walk(this.root, name).catch((error) => error.code as string);
    if (found !== 'NOT_FOUND') throw new Error(`lookup before mkdir: ${found}`);
    if (this.linux) {
      await this.calls.call('Tmkdir', { dfid: this.root, name, mode: 0o755, gid: 0 });
      await this.clunk(await this.walk(this.root, name));
      return;
    }
    const created = await this.walk(this.root);
    await this.calls.call('Tcreate', { fid: created, name, perm: 0x8000_01ed, mode: 0, extension: '' });
    const walked = await this.walk(this.root, name);
    await this.getattr(walked);
    await this.clunk(created);
    await this.clunk(walked);
  }

  async open(path: string[], { mode = 'rw', truncate = false }: OpenOptions = {}): Promise<Descriptor> {
    const walked: number[] = [];
    let fid = this.root;
    for (const name of path) {
      fid = await this.walk(fid, name);
      walked.push(fid);
      await this.getattr(fid);
    }
    const opened = await this.walk(fid);
    const access = { r: 0, w: 1, rw: 2 }[mode];
    if (this.linux) {
      await this.calls.call('Tlopen', { fid: opened, flags: access | (truncate ? O_TRUNC : 0) | 0o100000 });
      if (truncate) {
        const name = 'security.capability';
        const xattr = await this.calls
          .call('Txattrwalk', { fid, newfid: this.newFid(), name })
          .catch((error) => error);
        if (xattr.errno !== 95 && xattr.errno !== 61) throw new Error(`Txattrwalk: ${xattr.errno}`);
        const times = { atimeSec: 0n, atimeNsec: 0n, mtimeSec: 1n, mtimeNsec: 0n };
        await this.calls.call('Tsetattr', { fid, valid: 0x68, mode: 0, uid: 0, gid: 0, size: 0n, ...times });
      }
    } else {
      await this.calls.call('Topen', { fid: opened, mode: access | (truncate ? 0x10 : 0) });
      if (truncate)
        await this.calls.call('Twstat', { fid, stat: { ...UNCHANGED_STAT, length: 0n, mtime: 1 } });
    }
    return { fid: opened, walked };
  }

  /** write(2); a signal that kills the writer aborts `signal`. */
  async write({ fid }: Descriptor, text: string, offset = 0, signal?: AbortSignal): Promise<number> {
    const data = Buffer.from(text);
    const { count } = await this.calls.call('Twrite', { fid, offset: BigInt(offset), data }, signal);
    return count;
  }

  /** read(2) from an offset: Linux asks again where an answer was short, until there is nothing. */
  async read({ fid }: Descriptor, wanted = 100, offset = 0): Promise<string> {
    let text = '';
    for (;;) {
      const at = BigInt(offset + text.length);
      const { data } = await this.calls.call('Tread', { fid, offset: at, count: wanted - text.length });
      if (data.length === 0) return text;
      text += Buffer.from(data).toString();
      if (text.length >= wanted) return text;
    }
  }

  async close({ fid, walked }: Descriptor): Promise<void> {
    await this.clunk(fid);
    for (const one of [...walked].reverse()) await this.clunk(one);
  }

  async rmdir(name: string): Promise<void> {
    const walked = await this.walk(this.root, name);
    await this.getattr(walked);
    if (this.linux) {
      await this.calls.call('Tunlinkat', { dirfid: this.root, name, flags: 0x200 });
    } else {
      await this.calls.call('Tremove', { fid: await this.walk(walked) });
    }
    await this.clunk(walked);
  }

  /** cat(1) */
  async cat(...path: string[]): Promise<string> {
    const file = await this.open(path, { mode: 'r' });
    const text = await this.read(file, 100_000);
    await this.close(file);
    return text;
  }

  /** Outside of .L one buffer of a listing is filled with as many reads as it takes, the last ones short (p9_client_read). */
  private async fillBuffer(fid: number, start: bigint, size: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let length = 0;
    while (length < size) {
      const at = { fid, offset: start + BigInt(length), count: size - length };
      const { data } = await this.calls.call('Tread', at);
      if (data.length === 0) break;
      parts.push(data);
      length += data.length;
    }
    return Buffer.concat(parts);
  }

  /** ls(1), with the stats of every entry, and `.` and `..` where the dialect has them. */
  async ls(...path: string[]): Promise<string[]> {
    const walked = await this.walk(this.root, ...path);
    const opened = await this.walk(walked);
    const names: string[] = [];
    let offset = 0n;
    if (this.linux) await this.calls.call('Tlopen', { fid: opened, flags: 0o200000 });
    else await this.calls.call('Topen', { fid: opened, mode: 0 });
    await this.getattr(opened);
    for (;;) {
      const data = this.linux
        ? (await this.calls.call('Treaddir', { fid: opened, offset, count: MSIZE - 24 })).data
        : await this.fillBuffer(opened, offset, MSIZE - 24);
      if (data.length === 0) break;
      if (this.linux) {
        const page = decodeDirents(data);
        names.push(...page.map(({ name }) => name));
        offset = page.at(-1)?.cookie as bigint;
      } else {
        names.push(...decodeStats(data, this.dialect).map(({ name }) => name));
        offset += BigInt(data.length);
      }
    }
    for (const name of names.filter((one) => !one.startsWith('.'))) await this.stat(...path, name);
    await this.clunk(opened);
    await this.clunk(walked);
    return names;
  }
}
