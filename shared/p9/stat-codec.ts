import { BridgeError } from '../errors.ts';
import { ByteReader, malformed } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { type Dialect, NO_NUMBER, type Qid, type Stat } from './types.ts';

export function readQid(reader: ByteReader): Qid {
  return { type: reader.u8(), version: reader.u32(), path: reader.u64() };
}

export function writeQid(writer: ByteWriter, qid: Qid): void {
  writer.u8(qid.type);
  writer.u32(qid.version);
  writer.u64(qid.path);
}

/** Reads one stat with the length that it begins with; what it says must be what it takes (stat(5)). */
export function readStat(reader: ByteReader, dialect: Dialect): Stat {
  const size = reader.u16();
  const before = reader.remaining;
  const stat = {
    type: reader.u16(),
    dev: reader.u32(),
    qid: readQid(reader),
    mode: reader.u32(),
    atime: reader.u32(),
    mtime: reader.u32(),
    length: reader.u64(),
    name: reader.text(),
    uid: reader.text(),
    gid: reader.text(),
    muid: reader.text(),
    ...readExtension(reader, dialect),
  };
  if (before - reader.remaining !== size) throw malformed(`a stat says ${size} bytes`);
  return stat;
}

function readExtension(
  reader: ByteReader,
  dialect: Dialect,
): Pick<Stat, 'extension' | 'nUid' | 'nGid' | 'nMuid'> {
  if (dialect === '9P2000') return { extension: '', nUid: NO_NUMBER, nGid: NO_NUMBER, nMuid: NO_NUMBER };
  return { extension: reader.text(), nUid: reader.u32(), nGid: reader.u32(), nMuid: reader.u32() };
}

/** Writes one stat with the length that it begins with. */
export function writeStat(writer: ByteWriter, stat: Stat, dialect: Dialect): void {
  const start = writer.length;
  writer.u16(0);
  writer.u16(stat.type);
  writer.u32(stat.dev);
  writeQid(writer, stat.qid);
  writer.u32(stat.mode);
  writer.u32(stat.atime);
  writer.u32(stat.mtime);
  writer.u64(stat.length);
  writer.text(stat.name);
  writer.text(stat.uid);
  writer.text(stat.gid);
  writer.text(stat.muid);
  if (dialect !== '9P2000') {
    writer.text(stat.extension);
    writer.u32(stat.nUid);
    writer.u32(stat.nGid);
    writer.u32(stat.nMuid);
  }
  const size = writer.length - start - 2;
  // The length around it in Rstat counts two bytes more and is a u16 as well.
  if (size + 2 > 0xffff)
    throw new BridgeError('BAD_REQUEST', `a stat of ${size} bytes does not fit in a 9P message`);
  writer.setU16(start, size);
}

/** One stat on its own, as it stands in what a read of a 9P2000 directory returns. */
export function encodeStat(stat: Stat, dialect: Dialect): Uint8Array {
  const writer = new ByteWriter();
  writeStat(writer, stat, dialect);
  return writer.finish();
}

/** All stats of one read of a 9P2000 directory; half a stat at the end is an error. */
export function decodeStats(data: Uint8Array, dialect: Dialect): Stat[] {
  const reader = new ByteReader(data);
  const stats: Stat[] = [];
  while (reader.remaining > 0) stats.push(readStat(reader, dialect));
  return stats;
}
