import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { readQid, writeQid } from './stat-codec.ts';
import type { Qid } from './types.ts';

/** One entry of what Rreaddir carries in 9P2000.L. */
export interface Dirent {
  readonly qid: Qid;
  /** The offset of a Treaddir that goes on after this entry. */
  readonly cookie: bigint;
  /** DT_DIR or DT_REG */
  readonly type: number;
  readonly name: string;
}

export function encodeDirent(dirent: Dirent): Uint8Array {
  const writer = new ByteWriter();
  writeQid(writer, dirent.qid);
  writer.u64(dirent.cookie);
  writer.u8(dirent.type);
  writer.text(dirent.name);
  return writer.finish();
}

/** All entries of one Rreaddir; half an entry at the end is an error. */
export function decodeDirents(data: Uint8Array): Dirent[] {
  const reader = new ByteReader(data);
  const dirents: Dirent[] = [];
  while (reader.remaining > 0) {
    dirents.push({ qid: readQid(reader), cookie: reader.u64(), type: reader.u8(), name: reader.text() });
  }
  return dirents;
}
