/**
 * The flows of a UDP forward in a worker: FlowTable, found by the addresses as the kernel wrote them, so that a
 * datagram of a known flow makes no text of them. A flow is touched at most once for each wake-up of the loop, whose
 * clock stands still in between.
 */
import type { Limit } from '../../../shared/limit.ts';
import type { ReceiveBatch } from '../../../shared/platform/linux/datagrams/receive-batch.ts';
import { FlowTable } from '../../../shared/relay/udp-flows.ts';
import { type Client, makeClient, readKey, textKey, WORDS_6 } from './datagram-client.ts';

export interface DatagramClientsOptions {
  readonly max: number;
  /** Of the whole VM. */
  readonly shared?: Limit;
  readonly idleMs?: number | undefined;
  /** The one local address of the socket; empty where each datagram says it. */
  readonly bound: string;
  readonly now: () => number;
  /** A flow was made. @param evicted the one that had to go for it */
  readonly created: (evicted: Client | undefined) => void;
}

export class DatagramClients {
  private readonly flows: FlowTable<Client>;
  private readonly options: DatagramClientsOptions;
  private readonly byHash = new Map<number, Client>();
  private readonly key = new Uint32Array(WORDS_6);
  private last: Client | undefined;

  constructor(options: DatagramClientsOptions) {
    this.options = options;
    this.flows = new FlowTable<Client>(options);
  }

  /** Silence after which a flow is over, milliseconds. */
  get idleMs(): number {
    return this.flows.idleMs;
  }

  get size(): number {
    return this.flows.stats.size;
  }

  /** Whose datagram this is; it counts as use. */
  find(batch: ReceiveBatch, index: number): Client {
    const { key, last } = this;
    const length = readKey(batch.words, batch.sender(index), batch.local(index), key);
    if (last !== undefined && isSame(last.words, key, length)) return this.touch(last);
    const hash = hashOf(key, length);
    let client = this.byHash.get(hash);
    while (client !== undefined && !isSame(client.words, key, length)) client = client.next;
    this.last = client ?? this.make(hash, key.slice(0, length));
    return this.touch(this.last);
  }

  /** Whom an answer is for; it counts as use. Undefined when that flow is over. */
  byFlow(flow: number): Client | undefined {
    if (this.last?.flow === flow) return this.touch(this.last);
    const known = this.flows.touchById(flow)?.value;
    if (known !== undefined) this.last = known;
    return known;
  }

  /** The other side has ended a flow. */
  end(flow: number): void {
    const gone = this.flows.delete(flow);
    if (gone !== undefined) this.forget(gone.value);
  }

  /** Takes out the flows that have been idle for too long. */
  sweep(): Client[] {
    const gone = this.flows.sweep().map(({ value }) => value);
    for (const client of gone) this.forget(client);
    return gone;
  }

  /** Takes out all flows. */
  clear(): void {
    this.flows.clear();
    this.byHash.clear();
    this.last = undefined;
  }

  private touch(client: Client): Client {
    const now = this.options.now();
    if (client.touched !== now) {
      client.touched = now;
      this.flows.touchById(client.flow);
    }
    return client;
  }

  private make(hash: number, words: Uint32Array): Client {
    const { bound, now, created } = this.options;
    const { flow, evicted } = this.flows.touchByKey(textKey(words, bound), (id) =>
      makeClient(id, words, bound, now()),
    );
    if (evicted !== undefined) this.forget(evicted.value);
    const client = flow.value;
    client.next = this.byHash.get(hash);
    this.byHash.set(hash, client);
    created(evicted?.value);
    return client;
  }

  private forget(client: Client): void {
    if (this.last === client) this.last = undefined;
    const hash = hashOf(client.words, client.words.length);
    const first = this.byHash.get(hash);
    if (first === client) {
      if (client.next === undefined) this.byHash.delete(hash);
      else this.byHash.set(hash, client.next);
      return;
    }
    for (let each = first; each !== undefined; each = each.next)
      if (each.next === client) each.next = client.next;
  }
}

function isSame(words: Uint32Array, key: Uint32Array, length: number): boolean {
  if (words.length !== length) return false;
  for (let index = 0; index < length; index++) if (words[index] !== key[index]) return false;
  return true;
}

/** Small enough to be an integer of V8 that needs no memory. */
function hashOf(words: Uint32Array, length: number): number {
  let hash = 0;
  for (let index = 0; index < length; index++) {
    hash = Math.imul(hash ^ words[index]!, 0x9e37_79b1);
    hash ^= hash >>> 15;
  }
  return hash & 0x3fff_ffff;
}
