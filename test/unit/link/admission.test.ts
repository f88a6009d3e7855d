import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { Admission, MAX_HELD, MAX_PENDING } from '../../../shared/link/admission.ts';
import type { Logger } from '../../../shared/logger.ts';

const STRANGER = new BridgeError('AUTH_FAILED', 'no token');
let said: string[];
let admission: Admission;
beforeEach(() => {
  vi.useFakeTimers();
  said = [];
  const log = Object.fromEntries(
    ['warn', 'debug'].map((level) => [
      level,
      (_fields: object, text: string) => said.push(`${level}: ${text}`),
    ]),
  ) as unknown as Logger;
  admission = new Admission('here', log, () => Date.now());
});
afterEach(() => {
  admission.close();
  vi.useRealTimers();
});

/** A stream whose peer fails. @returns it, and how long it is kept */
function fail(): { stream: PassThrough; keptMs: () => number } {
  const stream = new PassThrough();
  admission.enter(stream);
  const begun = Date.now();
  admission.refuse(stream, STRANGER, false);
  const keptMs = (): number => {
    while (!stream.destroyed) vi.advanceTimersByTime(10);
    return Date.now() - begun;
  };
  return { stream, keptMs };
}

describe('peers that do not prove themselves', () => {
  it('are counted, and told later and later, up to 5 s', () => {
    const times = Array.from({ length: 9 }, () => fail().keptMs());
    expect(times).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    expect(admission.failures).toBe(9);
  });

  it('begin anew when a true peer was there, or nobody failed for a minute', () => {
    fail().keptMs();
    fail().keptMs();
    const stream = new PassThrough();
    admission.enter(stream);
    admission.admit(stream);
    expect(fail().keptMs()).toBe(100);
    expect(fail().keptMs()).toBe(200);
    vi.advanceTimersByTime(61_000);
    expect(fail().keptMs()).toBe(100);
    expect(stream.destroyed).toBe(false);
  });

  it('do not pile up: the one that waits longest is closed for the next', () => {
    const all = Array.from({ length: MAX_HELD + 3 }, () => fail().stream);
    expect(all.map(({ destroyed }) => destroyed)).toEqual(all.map((_, index) => index < 3));
    vi.advanceTimersByTime(5_000);
    expect(all.every(({ destroyed }) => destroyed)).toBe(true);
  });

  it('that we dialled are left at once, as other failures are', () => {
    const dialled = new PassThrough();
    admission.enter(dialled);
    admission.refuse(dialled, STRANGER, true);
    expect([dialled.destroyed, admission.failures]).toEqual([true, 1]);
    const other = new PassThrough();
    admission.enter(other);
    admission.refuse(other, new BridgeError('PROTOCOL', 'nonsense'), false);
    expect([other.destroyed, admission.failures]).toEqual([true, 1]);
  });

  it('are warnings in the log up to ten a minute', () => {
    for (let i = 0; i < 30; i++) admission.report(STRANGER);
    expect(said.filter((line) => line.startsWith('warn'))).toHaveLength(10);
    expect(said[9]).toContain('more within a minute are lines of level debug');
    vi.advanceTimersByTime(60_000);
    admission.report(STRANGER);
    expect(said[30]).toMatch(/^warn/);
  });
});

it('streams that say nothing lock nobody out: past the limit the oldest is closed', () => {
  const streams = Array.from({ length: MAX_PENDING + 2 }, () => new PassThrough());
  for (const stream of streams) admission.enter(stream);
  expect(streams.map(({ destroyed }) => destroyed)).toEqual(streams.map((_, index) => index < 2));
  expect(said).toEqual([`warn: limit reached: streams that are to become a link here (${MAX_PENDING})`]);
  admission.refuse(streams[0]!, new Error('closed'), false); // its place was taken already
  admission.admit(streams.at(-1)!);
  const next = new PassThrough();
  admission.enter(next);
  expect(streams.slice(2).some(({ destroyed }) => destroyed)).toBe(false);
  admission.close();
  expect(next.destroyed).toBe(true);
  expect(streams.at(-1)!.destroyed).toBe(false);
});
