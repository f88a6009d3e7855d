import { statOf } from './attributes.ts';
import { encodeDirent } from './dirent-codec.ts';
import { badDirectoryOffset, p9Error } from './error-text.ts';
import type { Directory } from './filesystem.ts';
import { encodeStat } from './stat-codec.ts';
import { type Dialect, DT_DIR, DT_REG } from './types.ts';

/** Encodes one entry as it is now. */
type Item = () => Uint8Array;

/**
 * The place of one open fid in its directory. A listing is taken when reading starts at 0 and kept until it starts there
 * again, so that entries that come and go meanwhile neither repeat others nor hide them.
 */
export class DirectoryCursor {
  private readonly directory: Directory;
  private items: readonly Item[] | undefined;
  private nextOffset = 0;
  private nextIndex = 0;

  constructor(directory: Directory) {
    this.directory = directory;
  }

  /** Tread of 9P2000 and .u: whole stats, and only onwards from the last one or from 0 (read(5)). */
  readStats(offset: number, count: number, dialect: Dialect): Uint8Array {
    if (offset === 0) {
      this.items = this.directory.list().map((node) => () => encodeStat(statOf(node), dialect));
      this.nextOffset = 0;
      this.nextIndex = 0;
    }
    if (this.items === undefined || offset !== this.nextOffset) throw badDirectoryOffset();
    const page = fill(this.items, this.nextIndex, count);
    // Linux fills its buffer with several reads, and what is left of it may be too small for the next stat: it stops at
    // an empty answer and goes on with an empty buffer. Its first read has all the room there is.
    if (page.taken === 0 && offset === 0 && this.items.length > 0) throw p9Error('Invalid argument');
    this.nextIndex += page.taken;
    this.nextOffset += page.bytes.length;
    return page.bytes;
  }

  /** Treaddir of 9P2000.L: the cookie of an entry is its place in the listing plus one; `.` and `..` come first. */
  readEntries(cookie: bigint, count: number): Uint8Array {
    if (cookie === 0n || this.items === undefined) {
      const { directory } = this;
      const listed = [
        { name: '.', node: directory },
        { name: '..', node: directory.walk('..') },
        ...directory.list().map((node) => ({ name: node.attributes().name, node })),
      ];
      this.items = listed.map(({ name, node }, index) => {
        const type = node.kind === 'directory' ? DT_DIR : DT_REG;
        return () => encodeDirent({ qid: node.qid, cookie: BigInt(index + 1), type, name });
      });
    }
    if (cookie >= BigInt(this.items.length)) return new Uint8Array(0);
    const page = fill(this.items, Number(cookie), count);
    // An empty answer would say that the end is reached.
    if (page.taken === 0) throw p9Error('Invalid argument');
    return page.bytes;
  }
}

/** As many whole items as fit. */
function fill(items: readonly Item[], from: number, count: number): { bytes: Uint8Array; taken: number } {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let index = from; index < items.length; index++) {
    const bytes = (items[index] as Item)();
    if (length + bytes.length > count) break;
    parts.push(bytes);
    length += bytes.length;
  }
  return { bytes: Buffer.concat(parts, length), taken: parts.length };
}
