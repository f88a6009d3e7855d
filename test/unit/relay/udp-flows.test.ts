import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Limit } from '../../../shared/limit.ts';
import { FlowTable, flowKey } from '../../../shared/relay/udp-flows.ts';

function tableAt(options: { max?: number; idleMs?: number; firstId?: number } = {}) {
  const clock = { now: 0 };
  return { clock, table: new FlowTable<string>({ ...options, now: () => clock.now }) };
}

const value = (name: string) => () => name;

describe('flow key', () => {
  it('tells the address that was written to', () => {
    expect(flowKey('10.0.0.1', '10.0.0.9', 5)).not.toBe(flowKey('10.0.0.2', '10.0.0.9', 5));
    expect(flowKey('', '10.0.0.9', 5)).not.toBe(flowKey('', '10.0.0.9', 50));
  });
});

describe('flow table', () => {
  it('makes a flow once and finds it by key and by id', () => {
    const { table } = tableAt();
    const first = table.touchByKey('a', (id) => `flow ${id}`);
    expect(first).toEqual({ flow: { id: 1, key: 'a', lastUsed: 0, value: 'flow 1' }, created: true });
    const again = table.touchByKey('a', () => {
      throw new Error('made twice');
    });
    expect(again).toEqual({ flow: first.flow, created: false });
    expect(table.touchById(1)).toBe(first.flow);
    expect(table.touchById(2)).toBeUndefined();
  });

  it('either direction keeps a flow alive for 90 s more', () => {
    const { table, clock } = tableAt();
    const { flow } = table.touchByKey('a', value('a'));
    clock.now = 80_000;
    table.touchByKey('a', value('a'));
    clock.now = 160_000;
    table.touchById(flow.id);
    clock.now = 249_999;
    expect(table.sweep()).toEqual([]);
    clock.now = 250_000;
    expect(table.sweep()).toEqual([flow]);
    expect(table.sweep()).toEqual([]);
    expect(table.touchById(flow.id)).toBeUndefined();
    expect(table.stats).toEqual({ size: 0, created: 1, evicted: 0, expired: 1 });
  });

  it('a full table gives up its idlest flow', () => {
    const { table, clock } = tableAt({ max: 2 });
    const a = table.touchByKey('a', value('a')).flow;
    clock.now = 1;
    const b = table.touchByKey('b', value('b')).flow;
    table.touchById(a.id);
    expect(table.touchByKey('c', value('c')).evicted).toBe(b);
    expect(table.touchById(b.id)).toBeUndefined();
    expect(table.stats).toEqual({ size: 2, created: 3, evicted: 1, expired: 0 });
  });

  it('holds 1,024 unless told', () => {
    const { table } = tableAt();
    for (let i = 0; i < 1_024; i++) expect(table.touchByKey(`${i}`, value('')).evicted).toBeUndefined();
    expect(table.touchByKey('more', value('')).evicted?.key).toBe('0');
    expect(table.stats.size).toBe(1_024);
  });

  it('ids wrap and skip those in use', () => {
    const { table } = tableAt({ firstId: 0xffff_fffe });
    const ids = ['a', 'b', 'c'].map((key) => table.touchByKey(key, value(key)).flow.id);
    expect(ids).toEqual([0xffff_fffe, 0xffff_ffff, 0]);
    // As if 2^32 flows had come and gone since.
    (table as unknown as { nextId: number }).nextId = 0xffff_fffe;
    expect(table.touchByKey('late', value('late')).flow.id).toBe(1);
    expect(table.touchById(0)?.key).toBe('c');
  });

  it('what throws while a flow is made changes nothing', () => {
    const { table } = tableAt({ max: 1 });
    table.touchByKey('a', value('a'));
    expect(() =>
      table.touchByKey('b', () => {
        throw new Error('no socket');
      }),
    ).toThrow('no socket');
    expect(table.stats).toEqual({ size: 1, created: 1, evicted: 0, expired: 0 });
    expect(table.touchByKey('b', value('b')).flow.id).toBe(2);
  });

  it('a flow can be ended by its key', () => {
    const { table } = tableAt();
    const { flow } = table.touchByKey('a', value('a'));
    expect(table.deleteByKey('b')).toBeUndefined();
    expect(table.deleteByKey('a')).toBe(flow);
    expect(table.deleteByKey('a')).toBeUndefined();
    expect(table.touchById(flow.id)).toBeUndefined();
  });

  it('clear hands over everything', () => {
    const { table } = tableAt();
    table.touchByKey('a', value('a'));
    table.touchByKey('b', value('b'));
    expect(table.list().map((flow) => flow.key)).toEqual(['a', 'b']);
    expect(table.clear().map((flow) => flow.key)).toEqual(['a', 'b']);
    expect(table.stats.size).toBe(0);
    expect(table.clear()).toEqual([]);
  });
});

/** The table as a list that is searched from end to end. */
class NaiveTable {
  flows: Array<{ key: string; id: number; lastUsed: number }> = [];
  private readonly max: number;
  private readonly idleMs: number;
  constructor(max: number, idleMs: number) {
    this.max = max;
    this.idleMs = idleMs;
  }

  touch(found: (flow: { key: string; id: number }) => boolean, now: number) {
    const flow = this.flows.find(found);
    if (flow === undefined) return undefined;
    this.flows = [...this.flows.filter((other) => other !== flow), flow];
    flow.lastUsed = now;
    return flow;
  }

  add(key: string, id: number, now: number): string | undefined {
    const evicted = this.flows.length === this.max ? this.flows.shift()?.key : undefined;
    this.flows.push({ key, id, lastUsed: now });
    return evicted;
  }

  sweep(now: number): string[] {
    const gone = this.flows.filter((flow) => now - flow.lastUsed >= this.idleMs);
    this.flows = this.flows.filter((flow) => !gone.includes(flow));
    return gone.map((flow) => flow.key);
  }
}

it('does what a naive table does', () => {
  const step = fc.oneof(
    fc.record({ act: fc.constant('key' as const), key: fc.constantFrom(...'abcdefgh') }),
    fc.record({ act: fc.constant('id' as const), pick: fc.nat(20) }),
    fc.record({ act: fc.constant('delete' as const), pick: fc.nat(20) }),
    fc.record({ act: fc.constant('wait' as const), ms: fc.nat(60) }),
    fc.record({ act: fc.constant('sweep' as const) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 60 }), (max, steps) => {
      const { table, clock } = tableAt({ max, idleMs: 100 });
      const naive = new NaiveTable(max, 100);
      for (const todo of steps) {
        if (todo.act === 'wait') clock.now += todo.ms;
        else if (todo.act === 'sweep')
          expect(table.sweep().map((flow) => flow.key)).toEqual(naive.sweep(clock.now));
        else if (todo.act === 'key') {
          const known = naive.touch((flow) => flow.key === todo.key, clock.now);
          const { flow, created, evicted } = table.touchByKey(todo.key, value(todo.key));
          expect(created).toBe(known === undefined);
          if (known !== undefined) expect(flow.id).toBe(known.id);
          else expect(evicted?.key).toBe(naive.add(todo.key, flow.id, clock.now));
        } else if (todo.act === 'id') {
          const known = naive.touch((flow) => flow.id === todo.pick, clock.now);
          expect(table.touchById(todo.pick)?.key).toBe(known?.key);
        } else {
          const known = naive.flows.find((flow) => flow.id === todo.pick);
          naive.flows = naive.flows.filter((flow) => flow !== known);
          expect(table.delete(todo.pick)?.key).toBe(known?.key);
        }
        expect(table.stats.size).toBe(naive.flows.length);
      }
      expect(table.clear().map(({ key, id, lastUsed }) => ({ key, id, lastUsed }))).toEqual(naive.flows);
    }),
    { numRuns: 500 },
  );
});

describe('tables that share a limit', () => {
  it('give up their idlest when it is reached, and may always have one flow', () => {
    const shared = new Limit('flows', 3);
    const [a, b] = [1, 2].map(() => new FlowTable<string>({ now: () => 0, shared }));
    for (const key of ['a', 'b', 'c']) a!.touchByKey(key, value(key));
    expect(a!.touchByKey('d', value('d')).evicted?.key).toBe('a');
    expect(b!.touchByKey('x', value('x')).evicted).toBeUndefined();
    expect(b!.touchByKey('y', value('y')).evicted?.key).toBe('x');
    expect([a!.stats.size, b!.stats.size, shared.used]).toEqual([3, 1, 3]);
    a!.deleteByKey('b');
    expect(shared.used).toBe(2);
    expect(b!.touchByKey('z', value('z')).evicted).toBeUndefined();
    expect(shared.used).toBe(3);
    b!.clear();
    a!.clear();
    expect(shared.used).toBe(0);
  });

  it('never count more flows than there are, nor keep a place of one that is over', () => {
    const steps = fc.array(fc.tuple(fc.nat(1), fc.nat(2), fc.nat(5)), { maxLength: 60 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4 }), steps, (max, all) => {
        const shared = new Limit('flows', max);
        const tables = [1, 2].map(() => new FlowTable<string>({ max: 3, now: () => 0, shared }));
        for (const [which, what, key] of all) {
          const table = tables[which]!;
          if (what === 0) table.deleteByKey(`${key}`);
          else table.touchByKey(`${key}`, value('x'));
          const flows = tables.reduce((sum, { stats }) => sum + stats.size, 0);
          expect(shared.used).toBeLessThanOrEqual(Math.min(max, flows));
          expect(flows - shared.used).toBeLessThanOrEqual(2);
        }
        for (const table of tables) table.clear();
        expect(shared.used).toBe(0);
      }),
    );
  });
});
