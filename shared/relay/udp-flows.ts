/**
 * The flows of one forward: which UDP clients are talking, and how long they have been silent. Pure: no sockets and no
 * timers; the caller gives the clock and sweeps.
 */

import type { Limit } from '../limit.ts';

export interface Flow<T> {
  /** u32, the same in both directions, unique among the flows of the table. */
  readonly id: number;
  readonly key: string;
  /** When either direction last carried a datagram, in the clock's milliseconds. */
  readonly lastUsed: number;
  readonly value: T;
}

export interface FlowTableOptions {
  /** Counts the flows of several tables. A table whose flows cannot be counted any more gives up its idlest, but may always have one. */
  readonly shared?: Pick<Limit, 'take' | 'give'>;
  /** The most flows at once; 1,024 unless told. */
  readonly max?: number;
  /** Silence after which a flow is over, milliseconds; 90 s unless told, as docker has it. */
  readonly idleMs?: number | undefined;
  /** Milliseconds of a clock that never runs backwards. */
  readonly now: () => number;
  /** Where ids begin. */
  readonly firstId?: number;
}

export interface FlowStats {
  readonly size: number;
  readonly created: number;
  /** Flows that went because the table was full. */
  readonly evicted: number;
  /** Flows that went because they were idle. */
  readonly expired: number;
}

const DEFAULT_MAX = 1_024;
const DEFAULT_IDLE_MS = 90_000;
const ID_SPACE = 2 ** 32;

/** How often to look for what has been silent for so long, milliseconds: it is over a quarter of that too late at most. */
export function sweepMs(idleMs: number): number {
  return Math.min(5_000, Math.max(250, idleMs / 4));
}

/** The side of the containers waits longer, so that it is the side of the clients that ends a flow, and counts it. */
const TARGET_GRACE_MS = 10_000;

/** Silence after which the side of the containers ends a flow by itself. @param flowIdle as the other side has it, seconds */
export function targetIdleMs(flowIdle: number | undefined): number | undefined {
  return flowIdle === undefined ? undefined : flowIdle * 1000 + TARGET_GRACE_MS;
}

/**
 * The key of a flow. It names the address that the client wrote to as well: a client that asks two of our addresses
 * from one socket has two flows, and each answer leaves from the address that was asked.
 * @param localAddress canonical address that was written to; empty where the engine does not know it
 */
export function flowKey(localAddress: string, clientAddress: string, clientPort: number): string {
  // No address or zone holds a space.
  return `${localAddress} ${clientAddress} ${clientPort}`;
}

type MutableFlow<T> = { -readonly [Field in keyof Flow<T>]: Flow<T>[Field] };

/** Flows by key and by id, in the order of their last use: the front of `byKey` has been silent longest. */
export class FlowTable<T> {
  private readonly byKey = new Map<string, MutableFlow<T>>();
  private readonly byId = new Map<number, MutableFlow<T>>();
  private readonly shared: FlowTableOptions['shared'];
  /** How many of its flows are counted there. */
  private counted = 0;
  private readonly max: number;
  readonly idleMs: number;
  private readonly now: () => number;
  private nextId: number;
  private created = 0;
  private evicted = 0;
  private expired = 0;

  constructor(options: FlowTableOptions) {
    this.shared = options.shared;
    this.max = options.max ?? DEFAULT_MAX;
    this.idleMs = options.idleMs ?? DEFAULT_IDLE_MS;
    this.now = options.now;
    this.nextId = options.firstId ?? 1;
  }

  get stats(): FlowStats {
    return { size: this.byKey.size, created: this.created, evicted: this.evicted, expired: this.expired };
  }

  /**
   * A client's datagram: finds its flow or makes one, and counts as use.
   * @param make called with the id of a new flow for what the caller keeps with it; when it throws, nothing has changed
   * @returns the flow, whether it is new, and the flow that had to go for it, which the caller ends
   */
  touchByKey(key: string, make: (id: number) => T): { flow: Flow<T>; created: boolean; evicted?: Flow<T> } {
    const known = this.byKey.get(key);
    if (known !== undefined) return { flow: this.touch(known), created: false };
    const id = this.freeId();
    const flow: MutableFlow<T> = { id, key, lastUsed: this.now(), value: make(id) };
    this.nextId = (id + 1) % ID_SPACE;
    const evicted = this.hasRoom() ? undefined : this.evictIdlest();
    this.byKey.set(key, flow);
    this.byId.set(id, flow);
    this.created++;
    return evicted === undefined ? { flow, created: true } : { flow, created: true, evicted };
  }

  /** An answer for a client: finds its flow and counts as use. Undefined when that flow is over. */
  touchById(id: number): Flow<T> | undefined {
    const flow = this.byId.get(id);
    return flow === undefined ? undefined : this.touch(flow);
  }

  /** Takes out every flow that has been silent for the idle time; the caller ends them. Costs only what it takes. */
  sweep(): Flow<T>[] {
    const latest = this.now() - this.idleMs;
    const gone: Flow<T>[] = [];
    for (const flow of this.byKey.values()) {
      if (flow.lastUsed > latest) break;
      this.remove(flow);
      gone.push(flow);
    }
    this.expired += gone.length;
    return gone;
  }

  /** Takes out one flow, whoever ended it. Undefined when it is gone already. */
  delete(id: number): Flow<T> | undefined {
    const flow = this.byId.get(id);
    if (flow !== undefined) this.remove(flow);
    return flow;
  }

  /** The same by key, for a side that knows the flows by what its peer calls them. */
  deleteByKey(key: string): Flow<T> | undefined {
    const flow = this.byKey.get(key);
    if (flow !== undefined) this.remove(flow);
    return flow;
  }

  /** The flows as they are now, idlest first; the table may change while the caller goes through them. */
  list(): Flow<T>[] {
    return [...this.byKey.values()];
  }

  /** Takes out all flows, for the caller to end. */
  clear(): Flow<T>[] {
    const all = this.list();
    for (const flow of all) this.remove(flow);
    return all;
  }

  private touch(flow: MutableFlow<T>): Flow<T> {
    flow.lastUsed = this.now();
    // A Map keeps the order of insertion, so this moves the flow to the back in O(1).
    this.byKey.delete(flow.key);
    this.byKey.set(flow.key, flow);
    return flow;
  }

  private evictIdlest(): Flow<T> | undefined {
    const [idlest] = this.byKey.values();
    if (idlest === undefined) return undefined;
    this.byKey.delete(idlest.key); // its place is the new one's
    this.byId.delete(idlest.id);
    this.evicted++;
    return idlest;
  }

  private remove(flow: Flow<T>): void {
    this.byKey.delete(flow.key);
    this.byId.delete(flow.id);
    if (this.counted <= this.byKey.size) return;
    this.counted--;
    this.shared?.give();
  }

  private hasRoom(): boolean {
    if (this.byKey.size >= this.max) return false;
    if (this.shared === undefined) return true;
    if (!this.shared.take()) return false;
    this.counted++;
    return true;
  }

  /** An id comes again only after all others have been, so that a late answer never reaches a newer client. */
  private freeId(): number {
    let id = this.nextId;
    while (this.byId.has(id)) id = (id + 1) % ID_SPACE;
    return id;
  }
}
