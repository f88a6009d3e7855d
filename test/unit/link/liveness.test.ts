import { describe, expect, it } from 'vitest';
import { Liveness } from '../../../shared/link/liveness.ts';

describe('Liveness', () => {
  it('asks once for all that ask meanwhile, behind the last of them', async () => {
    const pings: number[] = [];
    const liveness = new Liveness((number) => pings.push(number));
    const answered: string[] = [];
    const ask = (name: string) => void liveness.ask().then((alive) => answered.push(`${name} ${alive}`));
    ask('first');
    ask('second');
    ask('third');
    expect(pings).toHaveLength(1);
    liveness.pong(pings[0]!);
    await Promise.resolve();
    // What was asked behind the first ping is answered by the next one only.
    expect(answered).toEqual(['first true']);
    expect(pings).toHaveLength(2);
    liveness.pong(pings[1]!);
    await Promise.resolve();
    expect(answered).toEqual(['first true', 'second true', 'third true']);
    expect(pings).toHaveLength(2);
  });

  it('takes the answers to other pings for none', async () => {
    const pings: number[] = [];
    const liveness = new Liveness((number) => pings.push(number));
    let answered = false;
    void liveness.ask().then(() => {
      answered = true;
    });
    liveness.pong(1);
    liveness.pong(pings[0]! - 1);
    await Promise.resolve();
    expect(answered).toBe(false);
    // Numbers of the heart-beat are small.
    expect(pings[0]).toBeGreaterThan(0x7fff_ffff);
  });

  it('answers no when the link is over, also to those that ask later', async () => {
    const liveness = new Liveness(() => {});
    const asked = [liveness.ask(), liveness.ask()];
    liveness.end();
    expect(await Promise.all([...asked, liveness.ask()])).toEqual([false, false, false]);
  });
});
