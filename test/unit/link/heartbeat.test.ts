import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BridgeError } from '../../../shared/errors.ts';
import { Heartbeat, parseHeartbeat } from '../../../shared/link/heartbeat.ts';
import { SessionHeart } from '../../../shared/link/session-heart.ts';

const INTERVAL = 10_000;

/** A heart whose peer answers or not, on clocks that the test moves. */
class Rig {
  steady = 1_000;
  wall = 1_700_000_000_000;
  received = 0;
  asked: number[] = [];
  rtts: number[] = [];
  dead: BridgeError | undefined;
  readonly heart: SessionHeart;

  constructor(intervalMs = INTERVAL) {
    const rig = this;
    this.heart = new SessionHeart(
      {
        sendPing: (number) => this.asked.push(number),
        get received() {
          return rig.received;
        },
      },
      intervalMs,
      {
        rtt: (ms) => this.rtts.push(ms),
        dead: (reason) => {
          this.dead ??= reason;
        },
      },
      () => ({ steady: this.steady, wall: this.wall }),
    );
  }

  /** Both clocks go on. */
  pass(ms: number): void {
    this.steady += ms;
    this.wall += ms;
  }

  /** Ticks in time for so long, or until the peer is dead. @param each called before each tick */
  run(ms: number, each: () => void = () => {}): number {
    const begun = this.steady;
    while (this.dead === undefined && this.steady - begun < ms) {
      this.pass(this.heart.tickMs);
      each();
      this.heart.tick();
    }
    return this.steady - begun;
  }

  /** The peer answers all that it was asked. */
  answer(): void {
    this.received += 11;
    this.heart.pong(this.asked.at(-1)!);
  }
}

describe('a peer', () => {
  it('is asked at once and then once an interval, and its answers are measured', () => {
    const rig = new Rig();
    expect(rig.asked).toEqual([1]);
    rig.pass(3);
    rig.answer();
    rig.run(60_000, () => rig.answer());
    expect(rig.asked).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(rig.rtts[0]).toBe(3);
    expect(rig.dead).toBeUndefined();
  });

  it('that says nothing for three intervals is dead, and is not asked twice meanwhile', () => {
    const rig = new Rig();
    expect(rig.run(100_000)).toBe(3 * INTERVAL);
    expect(rig.dead).toMatchObject({ code: 'LINK_LOST', message: 'the peer was silent for 30 s' });
    expect(rig.asked).toEqual([1]);
  });

  it('lives by any byte, answers or not', () => {
    const rig = new Rig();
    let ticks = 0;
    rig.run(600_000, () => {
      if (++ticks % 29 === 0) rig.received++;
    });
    expect(rig.dead).toBeUndefined();
    rig.run(100_000);
    expect(rig.dead?.message).toContain('silent for 30 s');
  });

  it('does not answer for another ping than the last', () => {
    const rig = new Rig();
    rig.heart.pong(7);
    expect(rig.rtts).toEqual([]);
    rig.run(20_000, () => {
      rig.received++;
    });
    expect(rig.asked).toEqual([1]);
  });
});

describe('after a jump', () => {
  const jumps: Array<[string, (rig: Rig) => void]> = [
    ['a sleep that the steady clock does not see', (rig) => (rig.wall += 3_600_000)],
    ['a sleep that it does see', (rig) => rig.pass(3_600_000)],
    ['a step of the time ahead', (rig) => (rig.wall += 5_000)],
    ['a step of the time back', (rig) => (rig.wall -= 86_400_000)],
  ];

  it.each(jumps)('%s: it is asked at once, and is dead after a second of silence', (_name, jump) => {
    const rig = new Rig();
    rig.answer();
    rig.run(4_000, () => rig.answer());
    expect(rig.asked).toEqual([1]);
    jump(rig);
    rig.pass(rig.heart.tickMs);
    rig.heart.tick();
    expect(rig.asked).toEqual([1, 2]);
    expect(rig.dead).toBeUndefined();
    const took = rig.run(100_000);
    expect(took).toBeGreaterThanOrEqual(1_000);
    expect(took).toBeLessThanOrEqual(2_000);
    expect(rig.dead).toMatchObject({
      code: 'LINK_LOST',
      message: expect.stringContaining('clock had jumped'),
    });
  });

  it.each(jumps)('%s: one byte, and it lives on as before', (_name, jump) => {
    const rig = new Rig();
    rig.run(25_000); // it had been silent for long already
    jump(rig);
    rig.pass(rig.heart.tickMs);
    rig.heart.tick();
    rig.received++;
    expect(rig.run(100_000)).toBeGreaterThanOrEqual(3 * INTERVAL);
    expect(rig.dead?.message).toContain('silent for 30 s');
  });

  it('what has come before it does not count as an answer', () => {
    const rig = new Rig();
    rig.received++;
    rig.wall += 60_000;
    rig.pass(rig.heart.tickMs);
    rig.heart.tick();
    expect(rig.run(100_000)).toBeLessThanOrEqual(2_000);
  });

  it('a clock that jumps all the time keeps nobody alive', () => {
    const rig = new Rig();
    expect(rig.run(1_000_000, () => (rig.wall += 10_000))).toBe(3 * INTERVAL);
  });
});

it('a peer that speaks at least every other interval never dies, one that stops always does, however late ticks are', () => {
  const late = fc.array(fc.nat({ max: 20_000 }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(fc.constantFrom(100, 1_000, 10_000, 60_000), late, (interval, delays) => {
      const begin = { steady: 0, wall: 0 };
      const beat = new Heartbeat(interval, begin, 0);
      let now = 0;
      let received = 0;
      for (const delay of delays) {
        now += beat.tickMs + delay;
        received++;
        expect(['wait', 'ask']).toContain(beat.tick({ steady: now, wall: now }, received));
      }
      let ticks = 0;
      for (let last = 'wait'; last === 'wait' || last === 'ask'; ticks++) {
        now += beat.tickMs;
        last = beat.tick({ steady: now, wall: now }, received);
      }
      expect(ticks * beat.tickMs).toBeLessThanOrEqual(Math.max(3 * interval, 2_000) + beat.tickMs);
    }),
  );
});

it('an interval is given in seconds', () => {
  expect(parseHeartbeat(undefined)).toBe(10_000);
  expect(parseHeartbeat('0.25')).toBe(250);
  expect(parseHeartbeat('3600')).toBe(3_600_000);
  for (const bad of ['', '0', '0.05', '-1', '3601', '1e3', '5s', 'NaN', '1.2345'])
    expect(() => parseHeartbeat(bad)).toThrow(/from 0.1 to 3600/);
});
