import { describe, expect, it } from 'vitest';
import { chooseLane } from '../../../shared/transport/choose.ts';

const able = { manyStreams: true, halfClose: true, whoDials: 'host' } as const;

describe('chooseLane', () => {
  it('takes dedicated streams where everything they need is there', () => {
    expect(chooseLane(able, 'auto', true).lane).toBe('dedicated');
    expect(chooseLane({ ...able, whoDials: 'both' }, 'dedicated', true).lane).toBe('dedicated');
  });

  it.each([
    ['one stream', { ...able, manyStreams: false }, true],
    ['no half-close', { ...able, halfClose: false }, true],
    ['only the VM dials', { ...able, whoDials: 'vm' as const }, true],
    ['an old peer', able, false],
  ])('falls back to the multiplexed lane and says why: %s', (_name, traits, peerKnows) => {
    for (const preference of ['auto', 'dedicated'] as const) {
      const { lane, why } = chooseLane(traits, preference, peerKnows);
      expect(lane).toBe('multiplexed');
      expect(why).not.toBe('asked for');
    }
  });

  it('does as it is told about the multiplexed lane', () => {
    expect(chooseLane(able, 'multiplexed', true)).toEqual({ lane: 'multiplexed', why: 'asked for' });
  });
});
