import { BridgeError } from '../errors.ts';
import { DATA_REPLY_BYTES } from './codec.ts';
import { p9Error } from './error-text.ts';
import { closeFid } from './fid-table.ts';
import type { Node } from './filesystem.ts';
import type { MessageOf } from './messages.ts';
import type { Operations, SessionState } from './operation.ts';
import { NO_FID, type Qid } from './types.ts';

/** The requests that all dialects share. */
export const COMMON_OPERATIONS = {
  Tauth() {
    throw p9Error('authentication not required');
  },

  Tattach({ fids, filesystem }, { tag, fid, afid, uname, aname }) {
    if (afid !== NO_FID) throw p9Error('authentication not required');
    fids.checkFree(fid);
    const root = filesystem.attach(uname, aname);
    fids.add(fid, root);
    return { type: 'Rattach', tag, qid: root.qid };
  },

  Twalk: walk,

  Tread(state, { tag, fid: number, offset, count }, signal) {
    const fid = state.fids.get(number);
    const most = Math.min(count, state.msize - DATA_REPLY_BYTES);
    if (fid.kind === 'node') throw p9Error('bad use of fid');
    if (fid.kind === 'directory') {
      if (state.dialect === '9P2000.L') throw p9Error('Is a directory');
      return { type: 'Rread', tag, data: fid.cursor.readStats(Number(offset), most, state.dialect) };
    }
    if (!fid.access.read) throw p9Error('bad use of fid');
    return fid.file.read(Number(offset), most, signal).then((data) => ({ type: 'Rread', tag, data }));
  },

  async Twrite({ fids }, { tag, fid: number, offset, data }, signal) {
    const fid = fids.get(number);
    if (fid.kind !== 'file' || !fid.access.write) throw p9Error('bad use of fid');
    return { type: 'Rwrite', tag, count: await fid.file.write(Number(offset), data, signal) };
  },

  async Tclunk({ fids }, { tag, fid }) {
    await closeFid(fids.remove(fid));
    return { type: 'Rclunk', tag };
  },

  // remove(5): the fid is clunked even if the file could not be removed.
  async Tremove({ fids }, { tag, fid: number }, signal) {
    const fid = fids.remove(number);
    try {
      await fid.node.remove(signal);
    } finally {
      await closeFid(fid);
    }
    return { type: 'Rremove', tag };
  },
} as const satisfies Operations;

/**
 * walk(5): the first name that fails is an error; a later one ends the walk, the reply then has fewer qids than names and
 * newfid is left as it was.
 *
 * Against walk(5) an open fid can be walked from, to another that is not open: Linux from 5.11 until early 2022 (commit
 * 478ba09edc1f until its revert, 22e424feb665) does so to open a file again, and for what is in a directory that is open.
 */
function walk({ fids }: SessionState, message: MessageOf<'Twalk'>): MessageOf<'Rwalk'> {
  const { tag, fid, newfid, names } = message;
  let node: Node = newfid === fid ? fids.unopened(fid) : fids.get(fid).node;
  if (newfid !== fid) fids.checkFree(newfid);
  const qids: Qid[] = [];
  for (const name of names) {
    try {
      node = step(node, name);
    } catch (error) {
      if (qids.length === 0 || !(error instanceof BridgeError)) throw error;
      return { type: 'Rwalk', tag, qids };
    }
    qids.push(node.qid);
  }
  if (newfid === fid) fids.replace(fid, { kind: 'node', node });
  else fids.add(newfid, node);
  return { type: 'Rwalk', tag, qids };
}

function step(node: Node, name: string): Node {
  if (node.kind !== 'directory') throw p9Error('not a directory');
  return node.walk(name);
}
