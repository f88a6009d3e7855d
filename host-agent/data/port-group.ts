import type { Limit } from '../../shared/limit.ts';
import type { Forward } from './forward.ts';

/** The ports of one forward that has several: they open and close together, and are counted together. */
export class PortGroup implements Forward {
  private readonly ports: readonly Forward[];
  private readonly connections: Limit;

  /** @param connections counts the TCP connections of all of them */
  constructor(ports: readonly Forward[], connections: Limit) {
    this.ports = ports;
    this.connections = connections;
  }

  async close(options: { now: boolean }): Promise<void> {
    await Promise.all(this.ports.map((port) => port.close(options)));
  }

  /** How they wait for their containers, where they do: what all of them have in common, or how many listen. */
  get state(): string | undefined {
    const states = this.ports.map(({ state }) => state);
    if (states.every((state) => state === states[0])) return states[0];
    const listening = states.filter((state) => state === 'listening').length;
    return `${listening} of ${states.length} listening`;
  }

  stats(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const port of this.ports)
      for (const [key, value] of Object.entries(port.stats())) sums[key] = (sums[key] ?? 0) + value;
    // Where workers accept, each port says how many they all have.
    if (sums.active !== undefined) sums.active = this.connections.used;
    return sums;
  }
}
