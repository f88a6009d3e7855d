import { AF_INET, AF_INET6 } from '../../../shared/platform/linux/constants.ts';

/** Longest client address on the wire, bytes. */
export const MAX_PEER_BYTES = 19;

/**
 * Writes the address of a client as encodeDetails has it.
 * @param peer its socket address as the kernel gave it
 * @returns the offset behind it
 */
export function writePeer(out: Buffer, at: number, peer: Buffer): number {
  const family = peer[0]! | (peer[1]! << 8);
  if (family !== AF_INET && family !== AF_INET6) {
    out[at] = 0;
    return at + 1;
  }
  const v4 = family === AF_INET;
  out[at] = v4 ? 4 : 6;
  const size = v4 ? 4 : 16;
  peer.copy(out, at + 1, v4 ? 4 : 8, v4 ? 8 : 24);
  out[at + 1 + size] = peer[3]!; // network order there, little-endian here
  out[at + 2 + size] = peer[2]!;
  return at + 3 + size;
}
