import { changesOfSetattr, getattrOf } from './attributes.ts';
import { DATA_REPLY_BYTES } from './codec.ts';
import { p9Error } from './error-text.ts';
import { type Operations, openFid } from './operation.ts';
import {
  L_OPEN_TRUNCATE,
  OPEN_ACCESS,
  OPEN_EXECUTE,
  OPEN_READ,
  OPEN_READ_WRITE,
  OPEN_WRITE,
} from './types.ts';

/** V9FS_MAGIC of Linux uapi/linux/magic.h, by which df and stat -f name the filesystem. */
const V9FS_MAGIC = 0x0102_1997;
/** NAME_MAX of limits.h. */
const NAME_MAX = 255;

/**
 * The requests that only 9P2000.L has. Links, renames, locks, device files and extended attributes are left out: the
 * session answers them with EOPNOTSUPP, which Linux takes for "this filesystem has none".
 */
export const LINUX_OPERATIONS = {
  Tlopen(state, { tag, fid, flags }) {
    const access = flags & OPEN_ACCESS;
    if (access === OPEN_EXECUTE) throw p9Error('Invalid argument');
    const opened = openFid(state, fid, {
      read: access === OPEN_READ || access === OPEN_READ_WRITE,
      write: access === OPEN_WRITE || access === OPEN_READ_WRITE,
      truncate: (flags & L_OPEN_TRUNCATE) !== 0,
    });
    return { type: 'Rlopen', tag, ...opened };
  },

  Tlcreate({ fids }, { fid }) {
    if (fids.unopened(fid).kind !== 'directory') throw p9Error('not a directory');
    throw p9Error('permission denied');
  },

  Tmkdir({ fids }, { tag, dfid, name }) {
    return { type: 'Rmkdir', tag, qid: fids.directory(dfid).makeDirectory(name).qid };
  },

  // The flags say whether rmdir or unlink was called. Either takes an entry away, so they decide nothing.
  async Tunlinkat({ fids }, { tag, dirfid, name }, signal) {
    await fids.directory(dirfid).walk(name).remove(signal);
    return { type: 'Runlinkat', tag };
  },

  Tgetattr({ fids }, { tag, fid }) {
    return getattrOf(fids.get(fid).node, tag);
  },

  Tsetattr({ fids }, message) {
    fids.get(message.fid).node.change(changesOfSetattr(message));
    return { type: 'Rsetattr', tag: message.tag };
  },

  Treaddir(state, { tag, fid: number, offset, count }) {
    const fid = state.fids.get(number);
    if (fid.kind !== 'directory') throw p9Error('bad use of fid');
    const most = Math.min(count, state.msize - DATA_REPLY_BYTES);
    return { type: 'Rreaddir', tag, data: fid.cursor.readEntries(offset, most) };
  },

  Tfsync({ fids }, { tag, fid }) {
    fids.get(fid);
    return { type: 'Rfsync', tag };
  },

  Tstatfs({ fids }, { tag, fid }) {
    fids.get(fid);
    const nothing = { blocks: 0n, bfree: 0n, bavail: 0n, files: 0n, ffree: 0n, fsid: 0n };
    return { type: 'Rstatfs', tag, fsType: V9FS_MAGIC, bsize: 4096, ...nothing, namelen: NAME_MAX };
  },
} as const satisfies Operations;
