/** A connection as far as its silence goes. */
export interface Watched {
  /** Bytes that it has carried both ways. */
  readonly moved: number;
  /** It carries nothing yet: how long dialling may take is limited elsewhere. */
  readonly dialling: boolean;
}

/**
 * Finds connections that have carried nothing for a while, by looking at all of them now and then, so that carrying
 * costs nothing. Pure: the caller gives the clock. Looked at every `sweepMs` (udp-flows.ts), an end comes at most half
 * of the time too late.
 */
export class IdleWatch<T extends Watched> {
  private readonly idleMs: number;
  private readonly seen = new WeakMap<T, { moved: number; since: number }>();

  /** @param idleMs silence after which a connection is idle, milliseconds */
  constructor(idleMs: number) {
    this.idleMs = idleMs;
  }

  /** @param now milliseconds of a clock that never runs backwards. @returns those that are idle, for the caller to end */
  look(connections: Iterable<T>, now: number): T[] {
    const idle: T[] = [];
    for (const connection of connections) {
      if (connection.dialling) continue;
      const { moved } = connection;
      const last = this.seen.get(connection);
      if (last === undefined) this.seen.set(connection, { moved, since: now });
      else if (last.moved !== moved) {
        last.moved = moved;
        last.since = now;
      } else if (now - last.since >= this.idleMs) idle.push(connection);
    }
    return idle;
  }
}
