/**
 * What 9P2000, 9P2000.u and 9P2000.L have in common: plain values, no behaviour.
 * Sources: Plan 9 manual section 5, the 9P2000.u draft, diod's protocol.md, Linux include/net/9p/9p.h.
 */

/** Which of the three protocols a session speaks, by the name that Tversion gives it. */
export type Dialect = '9P2000' | '9P2000.u' | '9P2000.L';

/** The tag of Tversion, which belongs to no session yet. */
export const NO_TAG = 0xffff;
/** "No fid": the afid of an attach without authentication. */
export const NO_FID = 0xffff_ffff;
/** "Not given": numeric users of an attach, and "leave as it is" in a wstat. */
export const NO_NUMBER = 0xffff_ffff;
/** "Leave as it is" for the 64-bit fields of a wstat. */
export const NO_LENGTH = 0xffff_ffff_ffff_ffffn;

/** size[4] type[1] tag[2] */
export const HEADER_BYTES = 7;
/** What the Linux client subtracts from msize for the header of a read or a write (P9_IOHDRSZ). */
export const IO_HEADER_BYTES = 24;
/** Most names that one Twalk may carry (walk(5)). */
export const MAX_WALK_NAMES = 16;

/** Type byte of a qid; the same bits shifted left by 24 stand in the mode of a stat. */
export const QID_DIRECTORY = 0x80;
export const QID_FILE = 0x00;
/** Directory bit in a 9P2000 mode. */
export const DM_DIRECTORY = 0x8000_0000;

/** Open modes of 9P2000 and .u (open(5)); the low two bits are the access. */
export const OPEN_ACCESS = 0x03;
export const OPEN_READ = 0;
export const OPEN_WRITE = 1;
export const OPEN_READ_WRITE = 2;
export const OPEN_EXECUTE = 3;
export const OPEN_TRUNCATE = 0x10;
export const OPEN_REMOVE_ON_CLOSE = 0x40;

/** Open flags of 9P2000.L (the numbers of Linux/x86 open(2), fixed by the protocol). */
export const L_OPEN_TRUNCATE = 0o1000;

/** Which fields of a Tsetattr count (P9_ATTR_*). */
export const SET_MODE = 1 << 0;
export const SET_UID = 1 << 1;
export const SET_GID = 1 << 2;
export const SET_SIZE = 1 << 3;

/** Type bits of a 9P2000.L mode (stat(2)) and of an entry of Rreaddir (readdir(3)). */
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const DT_DIR = 4;
export const DT_REG = 8;

/** Identity of a file on its server. Version 0 tells Linux never to cache it. */
export interface Qid {
  readonly type: number;
  readonly version: number;
  readonly path: bigint;
}

/** The stat of 9P2000; the fields from `extension` on travel in 9P2000.u only. */
export interface Stat {
  readonly type: number;
  readonly dev: number;
  readonly qid: Qid;
  readonly mode: number;
  readonly atime: number;
  readonly mtime: number;
  readonly length: bigint;
  readonly name: string;
  readonly uid: string;
  readonly gid: string;
  readonly muid: string;
  readonly extension: string;
  readonly nUid: number;
  readonly nGid: number;
  readonly nMuid: number;
}
