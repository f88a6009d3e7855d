import { describe, expect, it } from 'vitest';
import { NONCE_BYTES } from '../../../shared/control-codec.ts';
import { freshNonce, nonceOf } from '../../../shared/link/nonce.ts';

const zeros = Buffer.alloc(NONCE_BYTES);
const ones = Buffer.alloc(NONCE_BYTES, 1);

describe('the nonce of a link', () => {
  it('is another one each time', () => {
    const drawn = Array.from({ length: 100 }, () => freshNonce());
    expect(new Set(drawn.map((nonce) => nonce.toString('hex'))).size).toBe(100);
    for (const nonce of drawn) expect(nonce).toHaveLength(NONCE_BYTES);
  });

  it('is another one when only the kernel, or only the clock, has moved on', () => {
    const nonce = nonceOf(zeros, zeros, '1');
    expect(nonceOf(zeros, zeros, '1')).toEqual(nonce);
    for (const other of [nonceOf(ones, zeros, '1'), nonceOf(zeros, ones, '1'), nonceOf(zeros, zeros, '2')])
      expect(other).not.toEqual(nonce);
  });

  it('does not mistake the end of one part for the beginning of the next', () => {
    expect(nonceOf(Buffer.from('ab'), Buffer.from('c'), '')).not.toEqual(
      nonceOf(Buffer.from('a'), Buffer.from('bc'), ''),
    );
  });
});
