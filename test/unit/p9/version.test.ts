import { expect, it } from 'vitest';
import { MAX_MSIZE, negotiate } from '../../../shared/p9/version.ts';

it.each([
  ['9P2000.L', '9P2000.L'],
  ['9P2000.u', '9P2000.u'],
  ['9P2000', '9P2000'],
  ['9P2000.xyz', '9P2000'],
  ['9P2000.l', '9P2000'],
  ['9P2001', undefined],
  ['9p2000', undefined],
  ['9P2000L', undefined],
  ['', undefined],
])('%s is answered by %s', (asked, dialect) => {
  expect(negotiate(8192, asked, MAX_MSIZE).dialect).toBe(dialect);
});

it('msize is the smaller one', () => {
  expect(negotiate(4096, '9P2000', MAX_MSIZE).msize).toBe(4096);
  expect(negotiate(512, '9P2000', MAX_MSIZE).msize).toBe(512);
  expect(negotiate(0xffff_ffff, '9P2000', MAX_MSIZE).msize).toBe(MAX_MSIZE);
  expect(negotiate(8192, '9P2000', 4096).msize).toBe(4096);
});

it('msize below 512 is refused', () => {
  expect(() => negotiate(511, '9P2000', MAX_MSIZE)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
});
