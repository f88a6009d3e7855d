import type { TransportTraits } from './transport.ts';

export const LANES = ['auto', 'dedicated', 'multiplexed'] as const;
export type LanePreference = (typeof LANES)[number];
export type Lane = 'dedicated' | 'multiplexed';

/**
 * Picks how connections travel. A dedicated stream needs a transport with many streams and half-close both
 * ways that the host can dial, and a peer that knows dedicated streams.
 * @returns the lane, and why it is not the dedicated one
 */
export function chooseLane(
  traits: TransportTraits,
  preference: LanePreference,
  peerKnowsDedicated: boolean,
): { lane: Lane; why: string } {
  if (preference === 'multiplexed') return { lane: 'multiplexed', why: 'asked for' };
  if (!traits.manyStreams) return { lane: 'multiplexed', why: 'the transport carries one stream only' };
  if (!traits.halfClose) return { lane: 'multiplexed', why: 'the transport has no half-close' };
  if (traits.whoDials === 'vm') return { lane: 'multiplexed', why: 'only the VM can open streams' };
  if (!peerKnowsDedicated) return { lane: 'multiplexed', why: 'the peer knows no dedicated streams' };
  return {
    lane: 'dedicated',
    why: preference === 'dedicated' ? 'asked for' : 'the transport is able to carry it',
  };
}
