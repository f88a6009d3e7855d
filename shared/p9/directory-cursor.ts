import { statOf } from './attributes.ts';
import { encodeDirent } from './dirent-codec.ts';
import { badDirectoryOffset, p9Error } from './error-text.ts';
import type { Directory, Node } from './filesystem.ts';
import { encodeStat } from './stat-codec.ts';
import { type Dialect, DT_DIR, DT_REG } from './types.ts';

/** The cookie of `..`; that of a child is its path plus this. */
const PARENT_COOKIE = 2n;

/** An encoded node, and its path. */
interface Item {
  readonly bytes: Uint8Array;
  readonly path: bigint;
}

/**
 * The place of one open fid in its directory: the path of the last child that was read. Nothing of a listing is kept, and since
 * children come by their paths, which are never used again, those that come and go meanwhile neither repeat others nor hide them.
 */
export class DirectoryCursor {
  private readonly directory: Directory;
  private nextOffset = 0;
  private lastPath = 0n;

  constructor(directory: Directory) {
    this.directory = directory;
  }

  /** Tread of 9P2000 and .u: whole stats, and only onwards from the last one or from 0 (read(5)). */
  readStats(offset: number, count: number, dialect: Dialect): Uint8Array {
    if (offset !== 0 && offset !== this.nextOffset) throw badDirectoryOffset();
    const page = fill(this.stats(offset === 0 ? 0n : this.lastPath, dialect), count);
    // Linux fills its buffer with several reads, and what is left of it may be too small for the next stat: it stops at
    // an empty answer and goes on with an empty buffer. Its first read has all the room there is.
    if (page.full && page.last === undefined && offset === 0) throw p9Error('Invalid argument');
    this.nextOffset = offset + page.bytes.length;
    if (page.last !== undefined) this.lastPath = page.last;
    else if (offset === 0) this.lastPath = 0n;
    return page.bytes;
  }

  /** Treaddir of 9P2000.L. `.` and `..` come first; any cookie may be gone on from, also one of another fid. */
  readEntries(cookie: bigint, count: number): Uint8Array {
    const page = fill(this.entries(cookie), count);
    // An empty answer would say that the end is reached.
    if (page.full && page.last === undefined) throw p9Error('Invalid argument');
    return page.bytes;
  }

  private *stats(after: bigint, dialect: Dialect): Iterable<Item> {
    for (const node of this.directory.list(after))
      yield { bytes: encodeStat(statOf(node), dialect), path: node.qid.path };
  }

  private *entries(after: bigint): Iterable<Item> {
    const { directory } = this;
    if (after < 1n) yield dirent('.', directory, 1n);
    if (after < PARENT_COOKIE) yield dirent('..', directory.walk('..'), PARENT_COOKIE);
    const path = after > PARENT_COOKIE ? after - PARENT_COOKIE : 0n;
    for (const node of directory.list(path))
      yield dirent(node.attributes().name, node, node.qid.path + PARENT_COOKIE);
  }
}

function dirent(name: string, { kind, qid }: Node, cookie: bigint): Item {
  const type = kind === 'directory' ? DT_DIR : DT_REG;
  return { bytes: encodeDirent({ qid, cookie, type, name }), path: qid.path };
}

/** As many whole items as fit; `full` when there was one that did not. */
function fill(
  items: Iterable<Item>,
  count: number,
): { bytes: Uint8Array; last: bigint | undefined; full: boolean } {
  const parts: Uint8Array[] = [];
  let [length, full] = [0, false];
  let last: bigint | undefined;
  for (const { bytes, path } of items) {
    full = length + bytes.length > count;
    if (full) break;
    parts.push(bytes);
    length += bytes.length;
    last = path;
  }
  return { bytes: Buffer.concat(parts, length), last, full };
}
