import { describe, expect, it } from 'vitest';
import { Deadlines, removeDeadline } from '../../../../shared/platform/linux/deadlines.ts';

describe('Deadlines', () => {
  const named = (name: string, said: string[]) => ({ expired: () => void said.push(name) });

  it('expire in order, once, and not before their time', () => {
    const list = new Deadlines(100);
    const said: string[] = [];
    expect(list.first).toBe(Number.POSITIVE_INFINITY);
    list.add(named('a', said), 0);
    list.add(named('b', said), 50);
    expect(list.first).toBe(100);
    list.run(99);
    expect(said).toEqual([]);
    list.run(100);
    expect(said).toEqual(['a']);
    list.run(1_000);
    list.run(2_000);
    expect(said).toEqual(['a', 'b']);
  });

  it('can be taken out, at any place, twice and too late', () => {
    const list = new Deadlines(10);
    const said: string[] = [];
    const [a, b, c] = ['a', 'b', 'c'].map((name) => list.add(named(name, said), 0));
    removeDeadline(b!);
    removeDeadline(b!);
    removeDeadline(a!);
    list.run(10);
    removeDeadline(c!);
    expect(said).toEqual(['c']);
    expect(list.first).toBe(Number.POSITIVE_INFINITY);
  });

  it('may be set again while they expire', () => {
    const list = new Deadlines(10);
    let times = 0;
    const item = {
      expired: () => {
        times++;
        list.add(item, 10);
      },
    };
    list.add(item, 0);
    list.run(10);
    expect(times).toBe(1);
    expect(list.first).toBe(20);
  });
});
