import type { Attributes, Changes, Node } from './filesystem.ts';
import type { MessageOf } from './messages.ts';
import {
  DM_DIRECTORY,
  NO_LENGTH,
  NO_NUMBER,
  S_IFDIR,
  S_IFREG,
  SET_GID,
  SET_MODE,
  SET_SIZE,
  SET_UID,
  type Stat,
} from './types.ts';

/** Everything belongs to root; a plain 9P2000 mount says itself whom it shows (dfltuid, dfltgid). */
const OWNER = 'root';
const BLOCK = 512;
/** P9_STATS_BASIC: mode to blocks. */
const VALID_BASIC = 0x7ffn;
const NINE_BITS = 0o777;

const seconds = (attributes: Attributes) => Math.floor(attributes.modified / 1000);

/** A node as 9P2000 and .u see it. */
export function statOf(node: Node): Stat {
  const attributes = node.attributes();
  const directory = node.kind === 'directory';
  return {
    type: 0,
    dev: 0,
    qid: node.qid,
    mode: (attributes.permissions | (directory ? DM_DIRECTORY : 0)) >>> 0,
    atime: seconds(attributes),
    mtime: seconds(attributes),
    // stat(5): directories have length 0 by convention.
    length: directory ? 0n : BigInt(attributes.size),
    name: attributes.name,
    uid: OWNER,
    gid: OWNER,
    muid: OWNER,
    extension: '',
    nUid: 0,
    nGid: 0,
    nMuid: 0,
  };
}

/** A node as 9P2000.L sees it. */
export function getattrOf(node: Node, tag: number): MessageOf<'Rgetattr'> {
  const attributes = node.attributes();
  const directory = node.kind === 'directory';
  const time = BigInt(seconds(attributes));
  return {
    type: 'Rgetattr',
    tag,
    valid: VALID_BASIC,
    qid: node.qid,
    mode: (directory ? S_IFDIR : S_IFREG) | attributes.permissions,
    uid: 0,
    gid: 0,
    nlink: directory ? 2n : 1n,
    rdev: 0n,
    size: BigInt(attributes.size),
    blksize: 4096n,
    blocks: BigInt(Math.ceil(attributes.size / BLOCK)),
    atimeSec: time,
    atimeNsec: 0n,
    mtimeSec: time,
    mtimeNsec: 0n,
    ctimeSec: time,
    ctimeNsec: 0n,
    btimeSec: 0n,
    btimeNsec: 0n,
    gen: 0n,
    dataVersion: 0n,
  };
}

/** What a Twstat wants; all ones and empty strings mean "leave it" (stat(5)). */
export function changesOfStat(stat: Stat): Changes {
  const owner = stat.uid !== '' || stat.gid !== '' || stat.nUid !== NO_NUMBER || stat.nGid !== NO_NUMBER;
  return {
    ...(stat.name === '' ? {} : { name: stat.name }),
    ...(stat.mode === NO_NUMBER ? {} : { permissions: stat.mode & NINE_BITS }),
    ...(owner ? { owner } : {}),
    ...(stat.length === NO_LENGTH ? {} : { size: Number(stat.length) }),
  };
}

/** What a Tsetattr wants. */
export function changesOfSetattr(message: MessageOf<'Tsetattr'>): Changes {
  const { valid } = message;
  return {
    ...(valid & SET_MODE ? { permissions: message.mode & NINE_BITS } : {}),
    ...(valid & (SET_UID | SET_GID) ? { owner: true } : {}),
    ...(valid & SET_SIZE ? { size: Number(message.size) } : {}),
  };
}

/** What a wstat that changes nothing looks like; clients start from it. */
export const UNCHANGED_STAT: Stat = {
  type: 0xffff,
  dev: NO_NUMBER,
  qid: { type: 0xff, version: NO_NUMBER, path: NO_LENGTH },
  mode: NO_NUMBER,
  atime: NO_NUMBER,
  mtime: NO_NUMBER,
  length: NO_LENGTH,
  name: '',
  uid: '',
  gid: '',
  muid: '',
  extension: '',
  nUid: NO_NUMBER,
  nGid: NO_NUMBER,
  nMuid: NO_NUMBER,
};
