import { giveAll, type Limit, takeAll } from '../limit.ts';
import type { DirectoryCursor } from './directory-cursor.ts';
import { type ErrorWord, p9Error } from './error-text.ts';
import type { Access, Directory, File, Node, OpenFile } from './filesystem.ts';
import { NO_FID } from './types.ts';

/** A client's name for a node, opened or not. */
export type Fid =
  | { readonly kind: 'node'; readonly node: Node }
  | { readonly kind: 'directory'; readonly node: Directory; readonly cursor: DirectoryCursor }
  | { readonly kind: 'file'; readonly node: File; readonly file: OpenFile; readonly access: Access };

/** The fids of one session. */
export class FidTable {
  private readonly fids = new Map<number, Fid>();
  private readonly own: Limit;
  private readonly all: Limit;

  /**
   * @param own how many this session may have at once
   * @param all how many all sessions of the server may have
   */
  constructor(own: Limit, all: Limit) {
    this.own = own;
    this.all = all;
  }

  get size(): number {
    return this.fids.size;
  }

  get(number: number): Fid {
    const fid = this.fids.get(number);
    if (fid === undefined) throw p9Error('fid not found');
    return fid;
  }

  /** The node of a fid that is not open: what a Twalk in place, Topen and Tcreate need (walk(5), open(5)). */
  unopened(number: number): Node {
    const fid = this.get(number);
    if (fid.kind !== 'node') throw p9Error('bad use of fid');
    return fid.node;
  }

  /** The directory that a fid names, opened or not. */
  directory(number: number): Directory {
    const { node } = this.get(number);
    if (node.kind !== 'directory') throw p9Error('not a directory');
    return node;
  }

  /** Whether a new fid may have this number. */
  checkFree(number: number): void {
    if (number === NO_FID) throw p9Error('bad use of fid');
    if (this.fids.has(number)) throw p9Error('fid already in use');
    checkRoom(this.own, 'Too many open files');
    checkRoom(this.all, 'Too many open files in system');
  }

  add(number: number, node: Node): void {
    this.checkFree(number);
    takeAll([this.own, this.all]);
    this.fids.set(number, { kind: 'node', node });
  }

  /** Gives a fid that exists another meaning: walked on in place, or opened. */
  replace(number: number, fid: Fid): void {
    this.get(number);
    this.fids.set(number, fid);
  }

  /** Takes a fid out; its number is free at once. The caller closes what was open. */
  remove(number: number): Fid {
    const fid = this.get(number);
    this.fids.delete(number);
    giveAll([this.own, this.all]);
    return fid;
  }

  /** Takes all fids out, oldest first. */
  removeAll(): Fid[] {
    return [...this.fids.keys()].map((number) => this.remove(number));
  }
}

function checkRoom(limit: Limit, error: ErrorWord): void {
  if (limit.used < limit.max) return;
  limit.refuse();
  throw p9Error(error);
}

/** Ends what a fid taken out of the table had open. */
export async function closeFid(fid: Fid): Promise<void> {
  if (fid.kind === 'file') await fid.file.close();
}
