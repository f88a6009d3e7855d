import { Limit } from '../limit.ts';
import type { Logger } from '../logger.ts';
import { p9Error } from '../p9/error-text.ts';
import type { FileSystem } from '../p9/filesystem.ts';
import { SparseWarnings } from '../sparse-warnings.ts';
import type { PortDoor } from './door.ts';
import { Entry } from './entry.ts';
import { checkEntryName } from './entry-name.ts';
import { type EntrySource, type ListedEntry, rootNode } from './nodes.ts';
import { README_NAME } from './readme.ts';

/** One container with a large published range has two entries for each port of it. */
const MAX_ENTRIES = 4096;
/** Each opening of a file that was read has its text, of at most about 20 KB. */
const MAX_TEXT_BYTES = 16 * 1024 * 1024;
const IDLE_MS = 10_000;
const ANSWER_MS = 10_000;

export interface PortTreeOptions {
  readonly log: Logger;
  readonly maxEntries?: number;
  /** How long an entry whose ctl is not open waits for a request before it goes away. */
  readonly idleMs?: number;
  /** Within this time every read and write of ctl is answered. */
  readonly answerMs?: number;
}

/** The /port tree: one namespace of entries, shown to any number of connections, each with a door of its own. */
export class PortTree implements EntrySource {
  readonly entries: Limit;
  readonly texts: Limit;
  readonly started = Date.now();
  readonly paths: EntrySource['paths'];
  private readonly options: Required<PortTreeOptions>;
  private readonly byName = new Map<string, ListedEntry>();
  private lastPath = 0n;
  private closed = false;

  constructor(options: PortTreeOptions) {
    this.options = {
      log: options.log,
      maxEntries: options.maxEntries ?? MAX_ENTRIES,
      idleMs: options.idleMs ?? IDLE_MS,
      answerMs: options.answerMs ?? ANSWER_MS,
    };
    const warnings = new SparseWarnings(options.log);
    this.entries = new Limit('entries of /port', this.options.maxEntries, warnings);
    this.texts = new Limit('bytes of texts of /port that are being read', MAX_TEXT_BYTES, warnings);
    this.paths = { root: this.nextPath(), readme: this.nextPath() };
  }

  /** The tree as one connection sees it: requests that are written over it go to `door`. */
  filesystem(door: PortDoor): FileSystem {
    return {
      attach: (_user, tree) => {
        if (tree !== '' && tree !== '/') throw p9Error('file not found');
        return rootNode(this, door);
      },
    };
  }

  find(name: string): ListedEntry | undefined {
    return this.byName.get(name);
  }

  all(): Iterable<ListedEntry> {
    return this.byName.values();
  }

  /** Makes an entry, or hands over one of this name that was made and left alone. */
  make(name: string): ListedEntry {
    checkEntryName(name);
    const existing = this.byName.get(name);
    if (existing?.entry.adopt()) return existing;
    if (existing !== undefined || name === README_NAME) throw p9Error('file already exists');
    if (this.closed || !this.entries.take()) throw p9Error('file system is full');
    const entry = new Entry(name, {
      onGone: () => this.byName.delete(name),
      onFinished: () => this.entries.give(),
      ...this.options,
    });
    const paths = {
      entry: this.nextPath(),
      ctl: this.nextPath(),
      status: this.nextPath(),
      stats: this.nextPath(),
    };
    const listed = { entry, paths };
    this.byName.set(name, listed);
    return listed;
  }

  /** Releases every claim and takes no more entries. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.byName.values()].map(({ entry }) => entry.end()));
  }

  private nextPath(): bigint {
    return ++this.lastPath;
  }
}
