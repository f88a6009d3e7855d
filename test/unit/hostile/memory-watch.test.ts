import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MemoryWatch, STAY_MS } from '../../hostile/memory-watch.ts';

const BOUND = 100;
let bytes: number;
let watch: MemoryWatch;
let collected: number;

beforeEach(() => {
  vi.useFakeTimers();
  bytes = 50;
  collected = 0;
  watch = new MemoryWatch(
    () => bytes,
    BOUND,
    () => collected++,
  );
});

afterEach(async () => {
  bytes = 0;
  await watch.stop();
  vi.useRealTimers();
});

async function pass(ms: number, there: number): Promise<void> {
  bytes = there;
  await vi.advanceTimersByTimeAsync(ms);
}

describe('memory above the bound', () => {
  it('does not count when it is gone in time, however often', async () => {
    for (let times = 0; times < 5; times++) {
      await pass(STAY_MS - 100, 170);
      await pass(100, 90);
    }
    expect([watch.most, watch.stayed]).toEqual([170, false]);
  });

  it('counts when it stays, also when it is gone in the end', async () => {
    await pass(STAY_MS + 200, 101);
    await pass(500, 10);
    await watch.stop();
    expect([watch.most, watch.stayed]).toEqual([101, true]);
    expect(collected).toBeGreaterThan(2);
  });

  it('is looked at again when it is there in the end', async () => {
    await pass(500, 170);
    const stopped = watch.stop();
    await pass(STAY_MS, 170);
    await stopped;
    expect(watch.stayed).toBe(true);
  });

  it('is forgiven when it goes behind the end', async () => {
    await pass(500, 170);
    const stopped = watch.stop();
    await pass(1_000, 170);
    await pass(100, 90);
    await stopped;
    expect([watch.most, watch.stayed]).toEqual([170, false]);
  });
});
