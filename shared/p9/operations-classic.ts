import { changesOfStat, statOf } from './attributes.ts';
import { p9Error } from './error-text.ts';
import type { Access } from './filesystem.ts';
import { type Operations, openFid } from './operation.ts';
import {
  DM_DIRECTORY,
  OPEN_ACCESS,
  OPEN_EXECUTE,
  OPEN_READ,
  OPEN_READ_WRITE,
  OPEN_REMOVE_ON_CLOSE,
  OPEN_TRUNCATE,
  OPEN_WRITE,
} from './types.ts';

/** The requests that only 9P2000 and 9P2000.u have. */
export const CLASSIC_OPERATIONS = {
  Topen(state, { tag, fid, mode }) {
    return { type: 'Ropen', tag, ...openFid(state, fid, accessOf(mode)) };
  },

  // Tcreate leaves its fid open on what it made (open(5)). Only directories can be made here.
  Tcreate(state, { tag, fid, name, perm, mode }) {
    const parent = state.fids.unopened(fid);
    if (parent.kind !== 'directory') throw p9Error('not a directory');
    if ((perm & DM_DIRECTORY) === 0) throw p9Error('permission denied');
    if ((mode & OPEN_ACCESS) !== OPEN_READ || mode & OPEN_REMOVE_ON_CLOSE) throw p9Error('illegal mode');
    state.fids.replace(fid, { kind: 'node', node: parent.makeDirectory(name) });
    return { type: 'Rcreate', tag, ...openFid(state, fid, { read: true, write: false, truncate: false }) };
  },

  Tstat({ fids }, { tag, fid }) {
    return { type: 'Rstat', tag, stat: statOf(fids.get(fid).node) };
  },

  Twstat({ fids }, { tag, fid, stat }) {
    fids.get(fid).node.change(changesOfStat(stat));
    return { type: 'Rwstat', tag };
  },
} as const satisfies Operations;

/** Linux adds bits for append and exclusive that change nothing here. */
function accessOf(mode: number): Access {
  const access = mode & OPEN_ACCESS;
  if (mode & OPEN_REMOVE_ON_CLOSE) throw p9Error('illegal mode');
  if (access === OPEN_EXECUTE) throw p9Error('permission denied');
  return {
    read: access === OPEN_READ || access === OPEN_READ_WRITE,
    write: access === OPEN_WRITE || access === OPEN_READ_WRITE,
    truncate: (mode & OPEN_TRUNCATE) !== 0,
  };
}
