import { expect, it } from 'vitest';
import type { Forward } from '../../../host-agent/data/forward.ts';
import { PortGroup } from '../../../host-agent/data/port-group.ts';
import { Limit } from '../../../shared/limit.ts';

class Port implements Forward {
  readonly closed: boolean[] = [];
  readonly state: string | undefined;
  private readonly counters: Record<string, number>;

  constructor(counters: Record<string, number>, state?: string) {
    this.counters = counters;
    this.state = state;
  }

  async close({ now }: { now: boolean }): Promise<void> {
    this.closed.push(now);
  }

  stats(): Record<string, number> {
    return this.counters;
  }
}

const limit = new Limit('connections', 10);

it('ports of a group are counted together, but those who are there now only once', () => {
  limit.take(3);
  const streams = [1, 2].map((connections) => new Port({ connections, active: 3, bytes_up: 10 }));
  expect(new PortGroup(streams, limit).stats()).toEqual({ connections: 3, active: 3, bytes_up: 20 });
  const datagrams = [1, 2].map((flows) => new Port({ flows, dropped: 1 }));
  expect(new PortGroup(datagrams, limit).stats()).toEqual({ flows: 3, dropped: 2 });
});

it('they close together', async () => {
  const ports = [new Port({}), new Port({})];
  await new PortGroup(ports, limit).close({ now: true });
  expect(ports.map(({ closed }) => closed)).toEqual([[true], [true]]);
});

it.each([
  [[undefined, undefined], undefined],
  [['waiting', 'waiting'], 'waiting'],
  [['listening', 'listening'], 'listening'],
  [['waiting', 'listening', 'waiting'], '1 of 3 listening'],
])('the state of %j is %j', (states, state) => {
  const ports = states.map((each) => new Port({}, each));
  expect(new PortGroup(ports, limit).state).toBe(state);
});
