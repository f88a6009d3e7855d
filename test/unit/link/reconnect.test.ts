import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BridgeError, type ErrorCode } from '../../../shared/errors.ts';
import type { Link } from '../../../shared/link/link.ts';
import { keepLinked } from '../../../shared/link/reconnect.ts';
import { silentLogger } from '../../../shared/logger.ts';

const delays: number[] = [];
const wait = async (ms: number): Promise<void> => void delays.push(ms);

let now = 0;
beforeEach(() => {
  delays.length = 0;
  now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
});
afterEach(() => vi.restoreAllMocks());

/** What each dial comes to, one after the other: a code it fails with, or for how long the link is up, milliseconds. */
async function dialling(outcomes: ReadonlyArray<ErrorCode | number>): Promise<number[]> {
  const stop = new AbortController();
  const left = [...outcomes];
  await keepLinked({
    dialer: {
      url: 'unix:///x',
      traits: { manyStreams: true, halfClose: true, whoDials: 'host' },
      dial: async () => new PassThrough(),
    },
    establish: async () => {
      const outcome = left[0];
      if (typeof outcome === 'number') return {} as Link;
      left.shift();
      if (left.length === 0) stop.abort();
      throw new BridgeError(outcome!, 'failed');
    },
    serve: async () => {
      now += left.shift() as number;
      if (left.length === 0) stop.abort();
    },
    log: silentLogger(),
    signal: stop.signal,
    wait,
  });
  return delays.slice(0, outcomes.length - 1);
}

const times = <T>(count: number, what: T): T[] => Array.from({ length: count }, () => what);

describe('the delay before a link is dialled again', () => {
  it('doubles to 5 s, of which half is left to chance', async () => {
    const most = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000];
    vi.spyOn(Math, 'random').mockReturnValue(0.999_999);
    const late = await dialling([10_000, ...times(10, 'NO_LINK' as const)]);
    expect(late.map(Math.round)).toEqual([50, ...most]);
    delays.length = 0;
    vi.spyOn(Math, 'random').mockReturnValue(0);
    const soon = await dialling([10_000, ...times(10, 'NO_LINK' as const)]);
    expect(soon).toEqual([50, ...most].map((ms) => ms / 2));
  });

  it('stays below 500 ms before the first link, unless the peer has not our token', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.999_999);
    expect(Math.max(...(await dialling(times(12, 'NO_LINK' as const))))).toBeLessThanOrEqual(500);
    delays.length = 0;
    expect(Math.round(Math.max(...(await dialling(times(12, 'AUTH_FAILED' as const)))))).toBe(5_000);
  });

  it('grows while links do not last, and begins anew after one that did', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.999_999);
    const all = await dialling([...times(9, 100), 60_000, 'NO_LINK', 'NO_LINK']);
    expect(all.map(Math.round)).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000, 50, 100]);
  });
});
