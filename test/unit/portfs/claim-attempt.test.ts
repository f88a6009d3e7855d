import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../../shared/logger.ts';
import { attemptClaim, type Outcome } from '../../../shared/portfs/claim-attempt.ts';
import { FakeDoor } from './fake-door.ts';

const SPEC = 'tcp:a';

function attempting(signal?: AbortSignal) {
  const door = new FakeDoor();
  door.manual = true;
  const heard: Outcome['kind'][] = [];
  const cancel = new AbortController();
  const attempt = attemptClaim({
    door,
    spec: SPEC,
    timeoutMs: 10_000,
    cancel: signal ?? cancel.signal,
    log: silentLogger(),
    onOutcome: ({ kind }) => heard.push(kind),
  });
  return { door, heard, cancel, attempt, asked: door.asked[0] };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('exactly one outcome', () => {
  it('granted: the signal stays quiet, also when cancelled later', async () => {
    const { door, heard, cancel, attempt, asked } = attempting();
    asked?.grant();
    expect(await attempt.outcome).toMatchObject({ kind: 'granted', claim: { resolved: SPEC } });
    cancel.abort();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(heard).toEqual(['granted']);
    expect(asked?.signal.aborted).toBe(false);
    expect([...door.bound]).toEqual([SPEC]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('refused', async () => {
    const { heard, attempt, asked } = attempting();
    asked?.refuse('in use');
    expect(await attempt.outcome).toEqual({ kind: 'refused', message: 'in use [PORT_IN_USE]' });
    await attempt.finished;
    expect(heard).toEqual(['refused']);
  });

  it('late after its time and not before; a grant after that is released', async () => {
    const { door, heard, attempt, asked } = attempting();
    await vi.advanceTimersByTimeAsync(9_999);
    expect(heard).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(heard).toEqual(['late']);
    expect(asked?.signal.aborted).toBe(true);
    let finished = false;
    attempt.finished.then(() => {
      finished = true;
    });
    await vi.advanceTimersByTimeAsync(0);
    expect(finished).toBe(false);
    asked?.grant();
    await attempt.finished;
    expect([...door.bound]).toEqual([]);
    expect(door.events).toEqual([`abort ${SPEC}`, `bind ${SPEC}`, `release ${SPEC} now`]);
    expect(heard).toEqual(['late']);
  });

  it('cancelled: decided within the abort, whatever the door does', async () => {
    const { heard, cancel, attempt, asked } = attempting();
    cancel.abort();
    expect(heard).toEqual(['cancelled']);
    expect(asked?.signal.aborted).toBe(true);
    asked?.refuse('aborted');
    await attempt.finished;
    expect(await attempt.outcome).toEqual({ kind: 'cancelled' });
    expect(heard).toEqual(['cancelled']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('cancelled before it began: the door is not asked', async () => {
    const { door, heard, attempt } = attempting(AbortSignal.abort());
    expect(heard).toEqual(['cancelled']);
    await attempt.finished;
    expect(door.asked).toEqual([]);
  });
});

it('a door that throws at once is refused, and a late release that fails is no more than logged', async () => {
  const heard: Outcome[] = [];
  const options = {
    spec: SPEC,
    timeoutMs: 10,
    log: silentLogger(),
    onOutcome: (one: Outcome) => heard.push(one),
  };
  const throwing = {
    claim() {
      throw new TypeError('no door');
    },
  };
  await attemptClaim({ ...options, door: throwing, cancel: new AbortController().signal }).finished;
  expect(heard).toEqual([{ kind: 'refused', message: 'no door' }]);

  const door = new FakeDoor();
  door.manual = true;
  door.releasing = Promise.reject(new Error('cannot'));
  door.releasing.catch(() => {});
  const attempt = attemptClaim({ ...options, door, cancel: new AbortController().signal });
  await vi.advanceTimersByTimeAsync(10);
  door.asked[0]?.grant();
  await attempt.finished;
  expect(heard[1]).toEqual({ kind: 'late' });
});
