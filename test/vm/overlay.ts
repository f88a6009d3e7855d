/**
 * An empty qcow2 image over another one (QEMU, docs/interop/qcow2.txt): what is written goes into it, snapshots too.
 * QEMU makes such images with a program that is in another Debian package.
 */
import { statSync, writeFileSync } from 'node:fs';

const CLUSTER_BITS = 16;
const CLUSTER = 1 << CLUSTER_BITS;
/** Bytes of the disk that one entry of the first table stands for: a cluster of entries, each for a cluster. */
const BYTES_OF_ENTRY = (CLUSTER / 8) * CLUSTER;
const HEADER_BYTES = 104;
const BACKING_FORMAT = 0xe279_2aca;
/** Where things are, in clusters: the header is the first. */
const [REFERENCE_TABLE, REFERENCE_BLOCK, FIRST_TABLE, CLUSTERS] = [1, 2, 3, 4];

/** @param base path of a raw image; it is only read */
export function makeOverlay(path: string, base: string): void {
  const image = Buffer.alloc(CLUSTERS * CLUSTER);
  const { size } = statSync(base);
  const name = Buffer.from(base);
  const nameAt = HEADER_BYTES + 8 + 8 + 8;
  image.write('QFI\xfb', 'latin1');
  image.writeUInt32BE(3, 4); // version
  image.writeBigUInt64BE(BigInt(nameAt), 8);
  image.writeUInt32BE(name.length, 16);
  image.writeUInt32BE(CLUSTER_BITS, 20);
  image.writeBigUInt64BE(BigInt(size), 24);
  image.writeUInt32BE(Math.ceil(size / BYTES_OF_ENTRY), 36);
  image.writeBigUInt64BE(BigInt(FIRST_TABLE * CLUSTER), 40);
  image.writeBigUInt64BE(BigInt(REFERENCE_TABLE * CLUSTER), 48);
  image.writeUInt32BE(1, 56); // clusters of the reference table
  image.writeUInt32BE(4, 96); // 1 << 4 bits of a reference count
  image.writeUInt32BE(HEADER_BYTES, 100);
  image.writeUInt32BE(BACKING_FORMAT, HEADER_BYTES);
  image.writeUInt32BE('raw'.length, HEADER_BYTES + 4);
  image.write('raw', HEADER_BYTES + 8); // then the end of the extensions: zeros
  name.copy(image, nameAt);
  image.writeBigUInt64BE(BigInt(REFERENCE_BLOCK * CLUSTER), REFERENCE_TABLE * CLUSTER);
  for (let cluster = 0; cluster < CLUSTERS; cluster++)
    image.writeUInt16BE(1, REFERENCE_BLOCK * CLUSTER + 2 * cluster);
  writeFileSync(path, image);
}
