import type { AbortedStream } from './aborted-stream.ts';
import { type Deadline, removeDeadline, type Timed } from './deadlines.ts';
import type { StreamOrder, StreamReport } from './messages.ts';
import type { Reactor } from './reactor.ts';
import type { Relay } from './relay.ts';

/** Ends that wait for confirmation are asked about together, this much later; most are in no hurry, milliseconds. */
const BATCH_MS = 10;
const HURRY_MS = 1;
/** Resets that arrived before their stream did. */
const MAX_EARLY = 1_024;

/** A dedicated stream of this worker, as far as the peer can abort it. */
export interface Abortable {
  resetByPeer(errno: number): void;
}

/** The dedicated streams of one instance of the peer, in one worker: the counterpart of PeerStreams. */
class OwnerStreams implements Timed {
  readonly streams = new Map<number, Abortable>();
  readonly early = new Map<number, number>();
  waiting: Relay[] = [];
  deadline: Deadline | undefined;
  hurried = false;
  private readonly flush: () => void;

  constructor(flush: () => void) {
    this.flush = flush;
  }

  expired(): void {
    this.deadline = undefined;
    this.hurried = false;
    this.flush();
  }
}

/** What a worker has to ask the main thread, which has the link, about its dedicated streams. */
export class WorkerStreams {
  private readonly owners = new Map<number, OwnerStreams>();
  private readonly batches = new Map<number, Relay[]>();
  private readonly tickets = new Map<number, AbortedStream>();
  private readonly reactor: Reactor;
  private readonly post: (report: StreamReport) => void;
  private last = 0;

  constructor(reactor: Reactor, post: (report: StreamReport) => void) {
    this.reactor = reactor;
    this.post = post;
  }

  /** @returns the errno with which the peer has aborted it already; it is not registered then */
  add(owner: number, streamId: number, stream: Abortable): number | undefined {
    const { streams, early } = this.of(owner);
    const errno = early.get(streamId);
    if (errno === undefined) streams.set(streamId, stream);
    else early.delete(streamId);
    return errno;
  }

  remove(owner: number, streamId: number): void {
    this.of(owner).streams.delete(streamId);
  }

  /** Asks whether the end of a relay's tunnel is a true one. @param hurry somebody waits to be told of the end */
  confirm(owner: number, relay: Relay, hurry: boolean): void {
    const mine = this.of(owner);
    mine.waiting.push(relay);
    if (hurry && !mine.hurried && mine.deadline !== undefined) {
      removeDeadline(mine.deadline);
      mine.deadline = undefined;
    }
    mine.hurried ||= hurry;
    mine.deadline ??= this.reactor.deadlinesOf(hurry ? HURRY_MS : BATCH_MS).add(mine, this.reactor.now);
  }

  /** Says that we abort a stream. */
  announce(owner: number, streamId: number, errno: number, stream: AbortedStream): void {
    const ticket = ++this.last;
    this.tickets.set(ticket, stream);
    this.post({ type: 'announce', owner, streamId, errno, ticket });
  }

  /** @returns whether the message was for us */
  take(order: StreamOrder | { readonly type: string }): boolean {
    const known = order as StreamOrder;
    switch (known.type) {
      case 'reset':
        this.reset(known.owner, known.streamId, known.errno);
        return true;
      case 'confirmed':
        for (const relay of this.batches.get(known.batch) ?? []) relay.confirmed(known.trueEnd);
        this.batches.delete(known.batch);
        return true;
      case 'announced':
        this.tickets.get(known.ticket)?.announced();
        this.tickets.delete(known.ticket);
        return true;
      default:
        return false;
    }
  }

  private reset(owner: number, streamId: number, errno: number): void {
    const { streams, early } = this.of(owner);
    const stream = streams.get(streamId);
    if (stream !== undefined) {
      streams.delete(streamId);
      stream.resetByPeer(errno);
      return;
    }
    early.set(streamId, errno);
    if (early.size > MAX_EARLY) early.delete(early.keys().next().value!);
  }

  private of(owner: number): OwnerStreams {
    let mine = this.owners.get(owner);
    if (mine === undefined) {
      mine = new OwnerStreams(() => this.ask(owner));
      this.owners.set(owner, mine);
    }
    return mine;
  }

  private ask(owner: number): void {
    const mine = this.of(owner);
    const batch = ++this.last;
    this.batches.set(batch, mine.waiting);
    mine.waiting = [];
    this.post({ type: 'confirm', owner, batch });
  }
}
