import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Turns } from '../../shared/turns.ts';

const text = (payload: Buffer): string => payload.toString();

/** Each message takes so long, milliseconds of a clock of its own. */
function turnsOf(costMs: number) {
  let clock = 0;
  const events: string[] = [];
  const failures: unknown[] = [];
  const turns = new Turns<Buffer>(
    (payload) => {
      clock += costMs;
      if (text(payload) === 'bad') throw new Error('bad');
      events.push(text(payload));
    },
    (error) => {
      failures.push(error);
      turns.end();
    },
    () => clock,
  );
  const say = (...messages: string[]): void => {
    for (const each of messages) turns.take(Buffer.from(each), () => events.push(`${each} done`));
  };
  return { turns, events, failures, say };
}

it('deals with a few messages at once', () => {
  const { turns, events, say } = turnsOf(0.5);
  say('a', 'b');
  expect(events).toEqual(['a', 'a done', 'b', 'b done']);
  expect(turns.full).toBe(false);
});

it('leaves the thread to others every now and then when there are many, and keeps their order', async () => {
  const { turns, events, say } = turnsOf(1);
  const names = Array.from({ length: 7 }, (_, index) => `m${index}`);
  say(...names);
  const dealt = new Set<number>();
  while (turns.full) {
    dealt.add(events.length / 2);
    await turn();
  }
  expect([...dealt]).toEqual([2, 4, 6]);
  expect(events).toEqual(names.flatMap((name) => [name, `${name} done`]));
});

it('rests as long as a message has taken, however long that was', async () => {
  const { turns, events, say } = turnsOf(50);
  const begun = performance.now();
  say('a', 'b');
  expect(events).toEqual(['a', 'a done']);
  while (turns.full) await turn();
  expect(performance.now() - begun).toBeGreaterThan(45);
});

it('one that comes while others wait is behind them', async () => {
  const { turns, events, say } = turnsOf(2);
  say('a', 'b');
  say('c');
  while (turns.full) await turn();
  expect(events).toEqual(['a', 'a done', 'b', 'b done', 'c', 'c done']);
});

it('what is wrong is thrown at once, or told when its turn comes; nothing behind it is dealt with', async () => {
  const once = turnsOf(1);
  expect(() => once.say('bad')).toThrow('bad');
  const later = turnsOf(1);
  later.say('a', 'b', 'bad', 'c');
  while (later.turns.full) await turn();
  expect(later.failures).toHaveLength(1);
  expect(later.events).toEqual(['a', 'a done', 'b', 'b done']);
});

it('when the link is over the rest is dropped', async () => {
  const { turns, events, say } = turnsOf(2);
  say('a', 'b');
  turns.end();
  say('c');
  await delay(20);
  expect(events).toEqual(['a', 'a done']);
});
