/**
 * Every message of the three dialects as data: number, dialects, fields in wire order. The codec reads this table and the
 * types are derived from it, so that a field exists in one place.
 *
 * Dialects: 'all', 'old' (9P2000 and .u; Linux sends their .L twins instead), or 'L'.
 * Fields are `name:kind`. A kind that ends in `?` travels in .u and .L only (the `?` of Linux net/9p/protocol.c); without
 * it the decoder puts the value that means "not given".
 */
import { NO_NUMBER, type Qid, type Stat } from './types.ts';

/** What a field of each kind is in TypeScript. */
export interface FieldKinds {
  u8: number;
  u16: number;
  u32: number;
  u64: bigint;
  text: string;
  /** u32 count and that many bytes */
  data: Uint8Array;
  /** u16 count and that many strings, at most 16 */
  names: readonly string[];
  qid: Qid;
  /** u16 count and that many qids, at most 16 */
  qids: readonly Qid[];
  /** u16 length around a stat that begins with a u16 length of its own */
  stat: Stat;
}
export type FieldKind = keyof FieldKinds;
export type MessageShape = readonly [number: number, dialects: 'all' | 'old' | 'L', fields: string];

const TIMES = 'atimeSec:u64 atimeNsec:u64 mtimeSec:u64 mtimeNsec:u64';

export const MESSAGES = {
  Tversion: [100, 'all', 'msize:u32 version:text'],
  Rversion: [101, 'all', 'msize:u32 version:text'],
  Tauth: [102, 'all', 'afid:u32 uname:text aname:text nUname:u32?'],
  Rauth: [103, 'all', 'aqid:qid'],
  Tattach: [104, 'all', 'fid:u32 afid:u32 uname:text aname:text nUname:u32?'],
  Rattach: [105, 'all', 'qid:qid'],
  Rerror: [107, 'all', 'ename:text errno:u32?'],
  Tflush: [108, 'all', 'oldtag:u16'],
  Rflush: [109, 'all', ''],
  Twalk: [110, 'all', 'fid:u32 newfid:u32 names:names'],
  Rwalk: [111, 'all', 'qids:qids'],
  Topen: [112, 'old', 'fid:u32 mode:u8'],
  Ropen: [113, 'old', 'qid:qid iounit:u32'],
  Tcreate: [114, 'old', 'fid:u32 name:text perm:u32 mode:u8 extension:text?'],
  Rcreate: [115, 'old', 'qid:qid iounit:u32'],
  Tread: [116, 'all', 'fid:u32 offset:u64 count:u32'],
  Rread: [117, 'all', 'data:data'],
  Twrite: [118, 'all', 'fid:u32 offset:u64 data:data'],
  Rwrite: [119, 'all', 'count:u32'],
  Tclunk: [120, 'all', 'fid:u32'],
  Rclunk: [121, 'all', ''],
  Tremove: [122, 'all', 'fid:u32'],
  Rremove: [123, 'all', ''],
  Tstat: [124, 'old', 'fid:u32'],
  Rstat: [125, 'old', 'stat:stat'],
  Twstat: [126, 'old', 'fid:u32 stat:stat'],
  Rwstat: [127, 'old', ''],

  Rlerror: [7, 'L', 'ecode:u32'],
  Tstatfs: [8, 'L', 'fid:u32'],
  Rstatfs: [
    9,
    'L',
    'fsType:u32 bsize:u32 blocks:u64 bfree:u64 bavail:u64 files:u64 ffree:u64 fsid:u64 namelen:u32',
  ],
  Tlopen: [12, 'L', 'fid:u32 flags:u32'],
  Rlopen: [13, 'L', 'qid:qid iounit:u32'],
  Tlcreate: [14, 'L', 'fid:u32 name:text flags:u32 mode:u32 gid:u32'],
  Rlcreate: [15, 'L', 'qid:qid iounit:u32'],
  Tsymlink: [16, 'L', 'fid:u32 name:text target:text gid:u32'],
  Rsymlink: [17, 'L', 'qid:qid'],
  Tmknod: [18, 'L', 'dfid:u32 name:text mode:u32 major:u32 minor:u32 gid:u32'],
  Rmknod: [19, 'L', 'qid:qid'],
  Trename: [20, 'L', 'fid:u32 dfid:u32 name:text'],
  Rrename: [21, 'L', ''],
  Treadlink: [22, 'L', 'fid:u32'],
  Rreadlink: [23, 'L', 'target:text'],
  Tgetattr: [24, 'L', 'fid:u32 mask:u64'],
  Rgetattr: [
    25,
    'L',
    `valid:u64 qid:qid mode:u32 uid:u32 gid:u32 nlink:u64 rdev:u64 size:u64 blksize:u64 blocks:u64 ${TIMES} ctimeSec:u64 ctimeNsec:u64 btimeSec:u64 btimeNsec:u64 gen:u64 dataVersion:u64`,
  ],
  Tsetattr: [26, 'L', `fid:u32 valid:u32 mode:u32 uid:u32 gid:u32 size:u64 ${TIMES}`],
  Rsetattr: [27, 'L', ''],
  Txattrwalk: [30, 'L', 'fid:u32 newfid:u32 name:text'],
  Rxattrwalk: [31, 'L', 'size:u64'],
  Txattrcreate: [32, 'L', 'fid:u32 name:text size:u64 flags:u32'],
  Rxattrcreate: [33, 'L', ''],
  Treaddir: [40, 'L', 'fid:u32 offset:u64 count:u32'],
  Rreaddir: [41, 'L', 'data:data'],
  Tfsync: [50, 'L', 'fid:u32 datasync:u32'],
  Rfsync: [51, 'L', ''],
  Tlock: [52, 'L', 'fid:u32 lockType:u8 flags:u32 start:u64 length:u64 procId:u32 clientId:text'],
  Rlock: [53, 'L', 'status:u8'],
  Tgetlock: [54, 'L', 'fid:u32 lockType:u8 start:u64 length:u64 procId:u32 clientId:text'],
  Rgetlock: [55, 'L', 'lockType:u8 start:u64 length:u64 procId:u32 clientId:text'],
  Tlink: [70, 'L', 'dfid:u32 fid:u32 name:text'],
  Rlink: [71, 'L', ''],
  Tmkdir: [72, 'L', 'dfid:u32 name:text mode:u32 gid:u32'],
  Rmkdir: [73, 'L', 'qid:qid'],
  Trenameat: [74, 'L', 'olddirfid:u32 oldname:text newdirfid:u32 newname:text'],
  Rrenameat: [75, 'L', ''],
  Tunlinkat: [76, 'L', 'dirfid:u32 name:text flags:u32'],
  Runlinkat: [77, 'L', ''],
} as const satisfies Record<string, MessageShape>;

type KindOf<S extends string> = FieldKind & (S extends `${infer Bare}?` ? Bare : S);
type FieldOf<S extends string> = S extends `${infer Name}:${infer Kind}`
  ? { readonly [K in Name]: FieldKinds[KindOf<Kind>] }
  : unknown;
type FieldsOf<S extends string> = S extends `${infer First} ${infer Rest}`
  ? FieldOf<First> & FieldsOf<Rest>
  : FieldOf<S>;

export type MessageName = keyof typeof MESSAGES;
export type RequestName = Extract<MessageName, `T${string}`>;
export type ReplyName = Extract<MessageName, `R${string}`>;

export type MessageOf<N extends MessageName> = { readonly type: N; readonly tag: number } & FieldsOf<
  (typeof MESSAGES)[N][2]
>;
/** One message, told apart by `type`. */
export type Message = { [N in MessageName]: MessageOf<N> }[MessageName];
export type Reply = { [N in ReplyName]: MessageOf<N> }[ReplyName];

/** The name of the reply that belongs to a request when it succeeds. */
export type ReplyNameFor<N extends RequestName> = Extract<
  N extends `T${infer Rest}` ? `R${Rest}` : never,
  ReplyName
>;

/** Values of the `?` fields where the dialect does not carry them. */
export const NOT_GIVEN: Readonly<Record<string, unknown>> = { nUname: NO_NUMBER, extension: '', errno: 0 };

export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  /** Absent in plain 9P2000. */
  readonly extended: boolean;
}

export function parseFields(text: string): Field[] {
  return text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => {
      const [name, kind] = word.split(':') as [string, string];
      return { name, kind: kind.replace('?', '') as FieldKind, extended: kind.endsWith('?') };
    });
}
