import { BridgeError } from '../../../shared/errors.ts';
import { p9Error } from '../../../shared/p9/error-text.ts';
import type { Changes, Directory, File, FileSystem, Node, OpenFile } from '../../../shared/p9/filesystem.ts';

interface Blocked {
  readonly what: string;
  readonly signal: AbortSignal;
  /** Lets the operation succeed. */
  finish(): void;
  fail(error: unknown): void;
}

/**
 * A filesystem that remembers what was done to it. `slow` blocks every read and write until the test lets go; it gives up when
 * its signal aborts, `stubborn` does not.
 */
export class MemoryFilesystem implements FileSystem {
  readonly events: string[] = [];
  readonly blocked: Blocked[] = [];
  readonly changes: Changes[] = [];
  /** What every file reads. */
  content = Buffer.from('hello world');
  private lastPath = 0n;
  private readonly root: Directory;
  private readonly children = new Map<string, Node>();

  constructor() {
    this.root = this.directory('/', this.children, () => this.root);
    for (const name of ['hello', 'slow', 'stubborn', 'broken']) this.children.set(name, this.file(name));
    const deep = new Map<string, Node>();
    this.children.set(
      'deep',
      this.directory('deep', deep, () => this.root),
    );
    let inner = deep;
    let parent = this.children.get('deep') as Directory;
    for (let depth = 1; depth < 20; depth++) {
      const next = new Map<string, Node>();
      const above = parent;
      parent = this.directory('deep', next, () => above);
      inner.set('deep', parent);
      inner = next;
    }
  }

  attach(_user: string, tree: string): Directory {
    if (tree !== '') throw p9Error('file not found');
    return this.root;
  }

  /** Adds a file, or takes another in its place. */
  add(name: string): void {
    this.children.delete(name);
    this.children.set(name, this.file(name));
  }

  delete(name: string): void {
    this.children.delete(name);
  }

  private directory(name: string, children: Map<string, Node>, up: () => Directory): Directory {
    const self: Directory = {
      kind: 'directory',
      qid: { type: 0x80, version: 0, path: ++this.lastPath },
      attributes: () => ({ name, permissions: 0o755, size: 0, modified: 5000 }),
      change: (changes) => this.change(changes),
      remove: async () => {
        this.events.push(`remove ${name}`);
      },
      walk(child) {
        if (child === '..') return up();
        const node = children.get(child);
        if (node === undefined) throw p9Error('file not found');
        return node;
      },
      list: (after) => [...children.values()].filter(({ qid }) => qid.path > after),
      makeDirectory: (child) => {
        if (children.has(child)) throw p9Error('file already exists');
        const made = this.directory(child, new Map(), () => self);
        children.set(child, made);
        return made;
      },
    };
    return self;
  }

  private file(name: string): File {
    return {
      kind: 'file',
      qid: { type: 0, version: 0, path: ++this.lastPath },
      attributes: () => ({ name, permissions: 0o644, size: 11, modified: 7_500 }),
      change: (changes) => this.change(changes),
      remove: async () => {
        this.events.push(`remove ${name}`);
        if (name === 'hello') throw p9Error('permission denied');
      },
      open: (access) => {
        this.events.push(
          `open ${name}${access.read ? ' r' : ''}${access.write ? ' w' : ''}${access.truncate ? ' t' : ''}`,
        );
        return this.opened(name);
      },
    };
  }

  private opened(name: string): OpenFile {
    return {
      read: async (offset, count, signal) => {
        if (name === 'broken') throw new TypeError('a bug');
        if (name !== 'hello') await this.block(`read ${name}`, signal);
        return this.content.subarray(offset, offset + count);
      },
      write: async (_offset, data, signal) => {
        if (name !== 'hello') await this.block(`write ${name}`, signal);
        this.events.push(`wrote ${name}`);
        return data.length;
      },
      close: async () => {
        this.events.push(`close ${name}`);
        if (name === 'broken') throw new TypeError('a bug in close');
      },
    };
  }

  private block(what: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.blocked.push({ what, signal, finish: resolve, fail: reject });
      signal.addEventListener('abort', () => {
        this.events.push(`aborted ${what}`);
        if (!what.endsWith('stubborn')) reject(new BridgeError('CANCELLED', 'aborted'));
      });
    });
  }

  private change(changes: Changes): void {
    if (changes.name !== undefined) throw p9Error('wstat prohibited');
    this.changes.push(changes);
  }
}
