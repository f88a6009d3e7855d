import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CreditBudget,
  LEGACY_WINDOW_SIZES,
  ReceiveWindow,
  WINDOW_SIZES,
} from '../../../shared/mux/window.ts';

describe('ReceiveWindow', () => {
  it("behaves as vpnkit's: 65,536 at first, and again below half", () => {
    const window = new ReceiveWindow(new CreditBudget(LEGACY_WINDOW_SIZES));
    expect(window.open()).toBe(65_536);
    window.arrive(40_000);
    expect(window.consume(30_000)).toBeUndefined();
    expect(window.consume(10_000)).toBe(40_000 + 65_536);
  });

  it('doubles the window of a reader that keeps up, up to the maximum', () => {
    const window = new ReceiveWindow(new CreditBudget(WINDOW_SIZES));
    window.open();
    let largest = 0;
    for (let i = 0; i < 10; i++) {
      const bytes = window.credit;
      largest = Math.max(largest, bytes);
      window.arrive(bytes);
      expect(window.consume(bytes)).toBeDefined();
    }
    expect(largest).toBe(WINDOW_SIZES.max);
  });

  it('refuses one byte more than it allowed', () => {
    const window = new ReceiveWindow(new CreditBudget(WINDOW_SIZES));
    expect(() => window.arrive(1)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }));
    window.open();
    window.arrive(WINDOW_SIZES.initial);
    expect(() => window.arrive(1)).toThrow(/window overrun/);
  });

  it('never takes credit back, and never lets out more than the budget and the least windows', () => {
    const sizes = { initial: 64, max: 512, least: 16, budget: 1_000, refillBelow: 0.5 };
    const action = fc.record({
      channel: fc.nat({ max: 39 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
        const budget = new CreditBudget(sizes);
        const channels = Array.from({ length: 40 }, () => {
          const window = new ReceiveWindow(budget);
          return { window, advertised: window.open(), unread: 0 };
        });
        for (const { channel, share } of actions) {
          const each = channels[channel]!;
          const arriving = Math.floor(each.window.credit * share);
          each.window.arrive(arriving);
          each.unread += arriving;
          const read = Math.ceil(each.unread * share);
          const sequence = each.window.consume(read);
          each.unread -= read;
          if (sequence !== undefined) {
            expect(sequence).toBeGreaterThanOrEqual(each.advertised);
            each.advertised = sequence;
          }
          expect(budget.out).toBeLessThanOrEqual(sizes.budget + channels.length * sizes.least);
        }
        for (const { window } of channels) window.close();
        expect(budget.out).toBe(0);
      }),
    );
  });
});
