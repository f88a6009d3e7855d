/**
 * The tree as one connection sees it: directories and files over the entries that all share. Nodes are made when they are
 * walked to and hold nothing but what they show; what is remembered is in the tree, in entries, and in open files.
 *
 * Permissions let root, or whom the mount makes the owner, publish and everybody look. Linux checks them; we do not know
 * who asks.
 */
import type { Limit } from '../limit.ts';
import { p9Error } from '../p9/error-text.ts';
import type { Access, Changes, Directory, File, OpenFile } from '../p9/filesystem.ts';
import { QID_DIRECTORY, QID_FILE, type Qid } from '../p9/types.ts';
import { CtlFile } from './ctl-file.ts';
import type { PortDoor } from './door.ts';
import type { Entry } from './entry.ts';
import { README_NAME, README_TEXT } from './readme.ts';
import { TextSnapshot } from './text-snapshot.ts';

/** An entry with the numbers of its nodes. */
export interface ListedEntry {
  readonly entry: Entry;
  readonly paths: {
    readonly entry: bigint;
    readonly ctl: bigint;
    readonly status: bigint;
    readonly stats: bigint;
  };
}

/** What the root needs of the tree. */
export interface EntrySource {
  readonly paths: { readonly root: bigint; readonly readme: bigint };
  readonly started: number;
  /** Bytes of texts that are kept for readers. */
  readonly texts: Limit;
  find(name: string): ListedEntry | undefined;
  /** By path, all above those of the root and README. */
  all(): Iterable<ListedEntry>;
  make(name: string): ListedEntry;
}

/** What the nodes of one connection share. */
interface View {
  readonly door: PortDoor;
  readonly texts: Limit;
}

const qid = (type: number, path: bigint): Qid => ({ type, version: 0, path });

export function rootNode(source: EntrySource, door: PortDoor): Directory {
  const { texts, started, paths } = source;
  const view = { door, texts };
  const readme = textNode(
    README_NAME,
    paths.readme,
    texts,
    () => started,
    () => README_TEXT,
  );
  const root: Directory = {
    kind: 'directory',
    qid: qid(QID_DIRECTORY, paths.root),
    attributes: () => ({ name: '/', permissions: 0o755, size: 0, modified: started }),
    change: refuseChanges,
    remove: async () => {
      throw p9Error('cannot remove root');
    },
    walk(name) {
      if (name === '..') return root;
      if (name === README_NAME) return readme;
      const listed = source.find(name);
      if (listed === undefined) throw p9Error('file not found');
      return entryNode(listed, root, view);
    },
    *list(after) {
      if (readme.qid.path > after) yield readme;
      for (const listed of source.all()) if (listed.paths.entry > after) yield entryNode(listed, root, view);
    },
    makeDirectory: (name) => entryNode(source.make(name), root, view),
  };
  return root;
}

/** What an entry has in it, by path. */
const ENTRY_FILES = new Map<string, (listed: ListedEntry, view: View) => File>([
  ['ctl', ({ entry, paths }, view) => ctlNode(entry, paths.ctl, view)],
  ['status', (listed, { texts }) => statusNode(listed, texts)],
  ['stats', (listed, { texts }) => statsNode(listed, texts)],
]);

function entryNode(listed: ListedEntry, root: Directory, view: View): Directory {
  const { entry, paths } = listed;
  return {
    kind: 'directory',
    qid: qid(QID_DIRECTORY, paths.entry),
    attributes: () => ({ name: entry.name, permissions: 0o755, size: 0, modified: entry.since }),
    change: refuseChanges,
    remove: (signal) => entry.remove(signal),
    walk(name) {
      if (name === '..') return root;
      const child = ENTRY_FILES.get(name);
      if (child === undefined || entry.gone) throw p9Error('file not found');
      return child(listed, view);
    },
    *list(after) {
      if (entry.gone) return;
      for (const child of ENTRY_FILES.values()) {
        const node = child(listed, view);
        if (node.qid.path > after) yield node;
      }
    },
    makeDirectory() {
      throw p9Error('permission denied');
    },
  };
}

function ctlNode(entry: Entry, path: bigint, { door, texts }: View): File {
  return {
    kind: 'file',
    qid: qid(QID_FILE, path),
    attributes: () => ({
      name: 'ctl',
      permissions: 0o644,
      size: Buffer.byteLength(entry.answerNow()),
      modified: entry.since,
    }),
    // `>` in a shell truncates before it writes; there is nothing to cut off.
    change({ size: _, ...changes }) {
      refuseChanges(changes);
    },
    remove: refuseRemoval,
    open() {
      if (entry.gone) throw p9Error('file not found');
      return new CtlFile(entry, door, texts);
    },
  };
}

function statusNode({ entry, paths }: ListedEntry, texts: Limit): File {
  return textNode(
    'status',
    paths.status,
    texts,
    () => entry.since,
    () => entry.status(),
  );
}

function statsNode({ entry, paths }: ListedEntry, texts: Limit): File {
  return textNode(
    'stats',
    paths.stats,
    texts,
    () => entry.since,
    () => entry.stats(),
  );
}

function textNode(
  name: string,
  path: bigint,
  texts: Limit,
  modified: () => number,
  text: () => string,
): File {
  return {
    kind: 'file',
    qid: qid(QID_FILE, path),
    attributes: () => ({ name, permissions: 0o444, size: Buffer.byteLength(text()), modified: modified() }),
    change: refuseChanges,
    remove: refuseRemoval,
    open(access: Access): OpenFile {
      if (access.write) throw p9Error('permission denied');
      const snapshot = new TextSnapshot(texts);
      return {
        read: (offset, count) => snapshot.read(offset, count, text),
        write: async () => {
          throw p9Error('permission denied');
        },
        close: async () => snapshot.close(),
      };
    },
  };
}

function refuseChanges(changes: Changes): void {
  if (Object.keys(changes).length > 0) throw p9Error('Operation not permitted');
}

async function refuseRemoval(): Promise<void> {
  throw p9Error('permission denied');
}
