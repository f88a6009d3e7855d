import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { BridgeError } from '../../shared/errors.ts';
import { Waiters } from '../../shared/waiters.ts';

let waiters: Waiters<string>;
const late = () => new BridgeError('TIMEOUT', 'late');
const wait = (ms = 1_000, signal?: AbortSignal) => {
  const error = () => new BridgeError('CANCELLED', 'cancelled');
  const outcome = waiters.wait({ ms, late, ...(signal === undefined ? {} : { cancel: { signal, error } }) });
  return outcome.catch(({ code }: BridgeError) => code);
};
beforeEach(() => {
  vi.useFakeTimers();
  waiters = new Waiters();
});
/** Whatever came of it, nothing is left of who waited. */
afterEach(() => {
  const timers = vi.getTimerCount();
  vi.useRealTimers();
  expect([waiters.size, timers]).toEqual([0, 0]);
});

it('who came first gets it first, and only who waits gets any', async () => {
  const [first, second] = [wait(), wait()];
  expect([waiters.give('a'), waiters.give('b'), waiters.give('c')]).toEqual([true, true, false]);
  expect(await Promise.all([first, second])).toEqual(['a', 'b']);
});

it('all get it, or the same error', async () => {
  const served = [wait(), wait()];
  waiters.giveAll('a');
  const failed = [wait(), wait()];
  waiters.failAll(new BridgeError('LINK_LOST', 'over'));
  expect(await Promise.all([...served, ...failed])).toEqual(['a', 'a', 'LINK_LOST', 'LINK_LOST']);
});

it('ends for each when its time is up, or when it is cancelled, and its signal is left alone then', async () => {
  const short = wait(10);
  const stop = new AbortController();
  const { signal } = stop;
  const left = vi.spyOn(signal, 'removeEventListener');
  const [long, stopped, served] = [wait(20), wait(20, signal), wait(20, signal)];
  vi.advanceTimersByTime(10);
  expect([await short, waiters.size]).toEqual(['TIMEOUT', 3]);
  waiters.give('a');
  expect(await long).toBe('a');
  stop.abort();
  expect(await Promise.all([stopped, served])).toEqual(['CANCELLED', 'CANCELLED']);
  expect(left).toHaveBeenCalledTimes(2);
  expect(await wait(20, signal)).toBe('CANCELLED');
});
