import { describe, expect, it } from 'vitest';
import { chooseLane } from '../../../shared/transport/choose.ts';

const able = { manyStreams: true, halfClose: true, whoDials: 'host' } as const;
const ABLE = { dedicated: true, spares: true };
const OLDER = { dedicated: true, spares: false };

describe('chooseLane', () => {
  it('takes dedicated streams where everything they need is there', () => {
    expect(chooseLane(able, 'auto', OLDER).lane).toBe('dedicated');
    expect(chooseLane({ ...able, whoDials: 'both' }, 'dedicated', OLDER).lane).toBe('dedicated');
    expect(chooseLane({ ...able, whoDials: 'vm' }, 'auto', ABLE).lane).toBe('dedicated');
  });

  it.each([
    ['one stream', { ...able, manyStreams: false }, ABLE],
    ['no half-close', { ...able, halfClose: false }, ABLE],
    ['only the VM dials, and does not know how', { ...able, whoDials: 'vm' as const }, OLDER],
    ['an old peer', able, { dedicated: false, spares: false }],
  ])('falls back to the multiplexed lane and says why: %s', (_name, traits, peer) => {
    for (const preference of ['auto', 'dedicated'] as const) {
      const { lane, why } = chooseLane(traits, preference, peer);
      expect(lane).toBe('multiplexed');
      expect(why).not.toBe('asked for');
    }
  });

  it('does as it is told about the multiplexed lane', () => {
    expect(chooseLane(able, 'multiplexed', ABLE)).toEqual({ lane: 'multiplexed', why: 'asked for' });
  });
});
