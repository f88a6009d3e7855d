import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IdleWatch } from '../../../shared/relay/idle-watch.ts';
import { sweepMs } from '../../../shared/relay/udp-flows.ts';

describe('IdleWatch', () => {
  it('finds what was silent for long enough, and nothing else, whenever bytes came', () => {
    const idleMs = 2_000;
    const everyMs = sweepMs(idleMs);
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 20_000 }), { maxLength: 8 }),
        fc.nat({ max: 9_000 }),
        (times, opened) => {
          const moments = times.map((at) => opened + at).sort((a, b) => a - b);
          const state = { now: 0 };
          const connection = {
            get moved() {
              return moments.filter((at) => at <= state.now).length;
            },
            get dialling() {
              return state.now < opened;
            },
          };
          const watch = new IdleWatch<typeof connection>(idleMs);
          for (; state.now < 60_000; state.now += everyMs) {
            if (watch.look([connection], state.now).length === 0) continue;
            const lastByte = Math.max(opened, ...moments.filter((at) => at <= state.now));
            expect(state.now - lastByte).toBeGreaterThanOrEqual(idleMs);
            expect(state.now - lastByte).toBeLessThanOrEqual(idleMs + 2 * everyMs);
            return;
          }
          expect.unreachable('it was never found');
        },
      ),
    );
  });

  it('is looked at often enough for short times, and not too often for long ones', () => {
    expect([1_000, 2_000, 10_000, 90_000, 600_000].map(sweepMs)).toEqual([250, 500, 2_500, 5_000, 5_000]);
  });
});
