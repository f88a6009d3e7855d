import type { Duplex } from 'node:stream';
import { BridgeError } from '../errors.ts';
import { ClientCalls } from './client-calls.ts';
import { decodeDirents } from './dirent-codec.ts';
import { decodeStats } from './stat-codec.ts';
import {
  type Dialect,
  DM_DIRECTORY,
  DT_DIR,
  IO_HEADER_BYTES,
  L_OPEN_TRUNCATE,
  NO_FID,
  NO_NUMBER,
  OPEN_READ,
  OPEN_READ_WRITE,
  OPEN_TRUNCATE,
  OPEN_WRITE,
  QID_DIRECTORY,
  type Qid,
} from './types.ts';
import { MAX_MSIZE } from './version.ts';

export interface P9ClientOptions {
  /** Asked for, and required: a server that offers less is refused. Plain 9P2000, which every server speaks, by default. */
  readonly dialect?: Dialect;
  readonly msize?: number;
  readonly user?: string;
  /** Which tree of the server. */
  readonly tree?: string;
  /** Gives up connecting. */
  readonly signal?: AbortSignal;
}

export type OpenMode = 'read' | 'write' | 'read-write';
const ACCESS: Record<OpenMode, number> = {
  read: OPEN_READ,
  write: OPEN_WRITE,
  'read-write': OPEN_READ_WRITE,
};

/** What both dialects say about a node. */
export interface NodeStat {
  readonly qid: Qid;
  readonly directory: boolean;
  readonly permissions: number;
  readonly size: number;
}

export interface Listed {
  readonly name: string;
  readonly qid: Qid;
  readonly directory: boolean;
}

/** A small 9P client. Fids are plain numbers; whoever walks to one clunks it. Every call may be made while others wait. */
export class P9Client {
  /** The fid of the tree's root. */
  readonly root = 0;
  readonly msize: number;
  readonly dialect: Dialect;
  private readonly calls: ClientCalls;
  private lastFid = 0;

  private constructor(calls: ClientCalls, msize: number) {
    this.calls = calls;
    this.msize = msize;
    this.dialect = calls.dialect;
  }

  /** Agrees on a version and attaches. @param stream becomes the client's own, also when this fails */
  static async connect(stream: Duplex, options: P9ClientOptions = {}): Promise<P9Client> {
    const { dialect = '9P2000', msize: asked = MAX_MSIZE, user = 'root', tree = '', signal } = options;
    const calls = new ClientCalls(stream, asked);
    // Not by Tflush: a server that is silent does not answer that either.
    const giveUp = () => calls.close(new BridgeError('CANCELLED', 'connecting over 9P was given up'));
    signal?.addEventListener('abort', giveUp);
    if (signal?.aborted) giveUp();
    try {
      const { version, msize } = await calls.call('Tversion', { msize: asked, version: dialect });
      if (version !== dialect)
        throw new BridgeError('UNSUPPORTED', `the server speaks ${version}, not ${dialect}`);
      if (msize > asked)
        throw new BridgeError('PROTOCOL', `the server raised msize from ${asked} to ${msize}`);
      calls.dialect = dialect;
      const client = new P9Client(calls, msize);
      const who = { uname: user, aname: tree, nUname: NO_NUMBER };
      await calls.call('Tattach', { fid: client.root, afid: NO_FID, ...who });
      return client;
    } catch (error) {
      calls.close();
      throw error;
    } finally {
      signal?.removeEventListener('abort', giveUp);
    }
  }

  /** Resolves when the connection is over: with nothing after `close`, else with what ended it. */
  get closed(): Promise<BridgeError | undefined> {
    return this.calls.closed;
  }

  /** Ends the connection; what is under way is rejected. */
  close(): void {
    this.calls.close();
  }

  /** Walks up to 16 names and gives a new fid; no names copy `from`. */
  async walk(names: readonly string[], from = this.root, signal?: AbortSignal): Promise<number> {
    const newfid = ++this.lastFid;
    const { qids } = await this.calls.call('Twalk', { fid: from, newfid, names }, signal);
    const missing = names[qids.length];
    if (missing !== undefined) throw new BridgeError('NOT_FOUND', `Twalk: ${missing}: file not found`);
    return newfid;
  }

  async mkdir(name: string, parent = this.root, signal?: AbortSignal): Promise<void> {
    if (this.dialect === '9P2000.L') {
      await this.calls.call('Tmkdir', { dfid: parent, name, mode: 0o755, gid: 0 }, signal);
      return;
    }
    const fid = await this.walk([], parent, signal);
    try {
      const perm = (DM_DIRECTORY | 0o755) >>> 0;
      await this.calls.call('Tcreate', { fid, name, perm, mode: OPEN_READ, extension: '' }, signal);
    } finally {
      await this.clunk(fid);
    }
  }

  async open(
    fid: number,
    mode: OpenMode,
    options: { truncate?: boolean; signal?: AbortSignal } = {},
  ): Promise<void> {
    const { truncate = false, signal } = options;
    if (this.dialect === '9P2000.L') {
      await this.calls.call(
        'Tlopen',
        { fid, flags: ACCESS[mode] | (truncate ? L_OPEN_TRUNCATE : 0) },
        signal,
      );
    } else {
      await this.calls.call('Topen', { fid, mode: ACCESS[mode] | (truncate ? OPEN_TRUNCATE : 0) }, signal);
    }
  }

  /** One read; fewer bytes than asked for say nothing about the end, none do. */
  async read(fid: number, offset: number, count: number, signal?: AbortSignal): Promise<Uint8Array> {
    const { data } = await this.calls.call('Tread', { fid, offset: BigInt(offset), count }, signal);
    if (data.length > count) throw new BridgeError('PROTOCOL', `Tread: ${data.length} bytes for ${count}`);
    return data;
  }

  /** One write, of no more than fits in a message; answers how much was taken. */
  async write(fid: number, offset: number, data: Uint8Array, signal?: AbortSignal): Promise<number> {
    const part = data.subarray(0, this.msize - IO_HEADER_BYTES);
    const { count } = await this.calls.call('Twrite', { fid, offset: BigInt(offset), data: part }, signal);
    return count;
  }

  async clunk(fid: number): Promise<void> {
    await this.calls.call('Tclunk', { fid });
  }

  /** Removes what `fid` names; the fid is gone whether that works or not. */
  async remove(fid: number, signal?: AbortSignal): Promise<void> {
    await this.calls.call('Tremove', { fid }, signal);
  }

  async stat(fid: number, signal?: AbortSignal): Promise<NodeStat> {
    if (this.dialect === '9P2000.L') {
      const { qid, mode, size } = await this.calls.call('Tgetattr', { fid, mask: 0x7ffn }, signal);
      return { qid, directory: isDirectory(qid), permissions: mode & 0o777, size: Number(size) };
    }
    const { stat } = await this.calls.call('Tstat', { fid }, signal);
    return {
      qid: stat.qid,
      directory: isDirectory(stat.qid),
      permissions: stat.mode & 0o777,
      size: Number(stat.length),
    };
  }

  /** All entries of an open directory, without `.` and `..`. */
  async readdir(fid: number, signal?: AbortSignal): Promise<Listed[]> {
    const count = this.msize - IO_HEADER_BYTES;
    const listed: Listed[] = [];
    for (let offset = 0n; ; ) {
      if (this.dialect === '9P2000.L') {
        const { data } = await this.calls.call('Treaddir', { fid, offset, count }, signal);
        const page = decodeDirents(data);
        if (page.length === 0) return listed.filter(({ name }) => name !== '.' && name !== '..');
        for (const { name, qid, type } of page) listed.push({ name, qid, directory: type === DT_DIR });
        offset = page[page.length - 1]?.cookie ?? offset;
      } else {
        const data = await this.read(fid, Number(offset), count, signal);
        if (data.length === 0) return listed;
        for (const { name, qid } of decodeStats(data, this.dialect)) {
          listed.push({ name, qid, directory: isDirectory(qid) });
        }
        offset += BigInt(data.length);
      }
    }
  }
}

function isDirectory(qid: Qid): boolean {
  return (qid.type & QID_DIRECTORY) !== 0;
}
