import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  admits,
  describePeerCids,
  GUESTS_ONLY,
  HOST_ONLY,
  parsePeerCids,
} from '../../../shared/transport/peer-cids.ts';

describe('who may connect over vsock', () => {
  it.each([
    ['the shim unless told', HOST_ONLY, [2], [1, 3, 4_294_967_294], 'only CID 2'],
    [
      'the host agent unless told',
      GUESTS_ONLY,
      [3, 4_294_967_294],
      [0, 1, 2],
      'only CIDs from 3 on, those of VMs,',
    ],
    ['a list', parsePeerCids('3,1'), [1, 3], [2, 4], 'only CID 3, 1'],
    ['any', parsePeerCids('any'), [0, 1, 2, 3], [], 'every CID'],
  ])('%s', (_name, peers, yes, no, text) => {
    expect(yes.every((cid) => admits(peers, cid))).toBe(true);
    expect(no.some((cid) => admits(peers, cid))).toBe(false);
    expect(describePeerCids(peers)).toBe(text);
  });

  it('admits those of a list and nobody else', () => {
    const cid = fc.integer({ min: 1, max: 4_294_967_294 });
    fc.assert(
      fc.property(fc.array(cid, { minLength: 1, maxLength: 64 }), cid, (list, other) => {
        const peers = parsePeerCids(list.join(','));
        expect(peers.list).toEqual(list);
        expect(admits(peers, other)).toBe(list.includes(other));
      }),
    );
  });

  it.each(['', '0', '3,', ',3', '3 4', 'host', '-1', '4294967295', '1e3', Array(65).fill('3').join(',')])(
    'refuses "%s"',
    (text) => {
      expect(() => parsePeerCids(text)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    },
  );
});
