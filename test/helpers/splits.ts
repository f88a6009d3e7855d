import fc from 'fast-check';

/** Cuts bytes into the pieces that `cuts` (positions, any order) give. */
export function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const sorted = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const to of [...sorted, bytes.length]) {
    pieces.push(bytes.subarray(from, to));
    from = to;
  }
  return pieces.filter((piece) => piece.length > 0);
}

/** Positions at which a stream is cut. */
export const cuts = fc.array(fc.nat({ max: 1_000_000 }), { maxLength: 12 });
