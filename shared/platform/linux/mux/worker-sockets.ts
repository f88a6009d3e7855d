/**
 * In a worker: joins sockets that the main thread hands over to channels of links that live here, either way round.
 * Whom to dial and whom to let in is the main thread's to say.
 */
import { decodeDestination, encodeDestination } from '../../../destination.ts';
import { BridgeError, ERRNO } from '../../../errors.ts';
import { ANSWER_MS } from '../../../link/open-channel.ts';
import { SharedCounters } from '../../../link/shared-counters.ts';
import type { Channel } from '../../../mux/channel.ts';
import type { Pace } from '../../../pace.ts';
import { ChannelEnd } from '../../../relay/channel-end.ts';
import { Connection, type ConnectionHooks, type RelayCounters } from '../../../relay/connection.ts';
import { encodeDetails } from '../../../stream-details.ts';
import { type Deadline, removeDeadline, type Timed } from '../deadlines.ts';
import { systemError } from '../errno.ts';
import type { Reactor } from '../reactor.ts';
import { PLAIN_TCP, PLAIN_UNIX } from '../side.ts';
import { DescriptorEnd } from './descriptor-end.ts';
import type { SocketOrder, SocketReport } from './socket-orders.ts';
import type { WorkerLink } from './worker-links.ts';

/** What a message to the main thread takes besides its payload, about, bytes. */
const MESSAGE_BYTES = 256;

export class WorkerSockets {
  private readonly reactor: Reactor;
  private readonly post: (report: SocketReport) => void;
  /** By link and number. */
  private readonly joined = new Map<string, Joined>();

  constructor(reactor: Reactor, post: (report: SocketReport) => void) {
    this.reactor = reactor;
    this.post = post;
  }

  /** The peer has opened a channel: the main thread is asked for its socket. */
  wanted(channel: Channel, link: WorkerLink): void {
    const joined = new Joined(this.reactor, link, (error) => this.over(link.number, channel.id, error));
    this.joined.set(keyOf(link.number, channel.id), joined);
    joined.await(channel);
    const destination = encodeDestination(channel.destination);
    const details = encodeDetails(channel.details);
    const bytes = destination.length + details.length + MESSAGE_BYTES;
    link.passOn(bytes);
    this.post({
      type: 'socket-wanted',
      link: link.number,
      number: channel.id,
      destination: Uint8Array.from(destination),
      details: Uint8Array.from(details),
      bytes,
    });
  }

  /** @returns whether the order was for us */
  take(
    order: SocketOrder | { readonly type: string },
    linkOf: (n: number) => WorkerLink | undefined,
  ): boolean {
    const known = order as SocketOrder;
    switch (known.type) {
      case 'socket-connect': {
        const link = linkOf(known.link);
        if (link === undefined) this.turnAway(known.fd);
        else this.connect(link, known);
        return true;
      }
      case 'socket-dialled': {
        const joined = this.joined.get(keyOf(known.link, known.number));
        if (joined === undefined) this.turnAway(known.fd);
        else joined.dialled(known);
        return true;
      }
      case 'socket-failed':
      case 'socket-stop':
        this.joined.get(keyOf(known.link, known.number))?.fail(known.type === 'socket-failed', known.errno);
        return true;
      default:
        return false;
    }
  }

  private connect(link: WorkerLink, order: SocketOrder & { type: 'socket-connect' }): void {
    const joined = new Joined(this.reactor, link, (error) => this.over(link.number, order.number, error));
    this.joined.set(keyOf(link.number, order.number), joined);
    joined.connect(order);
  }

  private over(link: number, number: number, error: BridgeError | undefined): void {
    const key = keyOf(link, number);
    const dialled = this.joined.get(key)?.wasDialled === true;
    this.joined.delete(key);
    this.post({ type: 'socket-over', link, number, errno: error?.errno ?? 0, dialled });
  }

  /** Its link is over: its peer must not take that for an end. */
  private turnAway(fd: number): void {
    this.reactor.own(fd);
    this.reactor.reset(fd);
  }
}

/** One of them. */
class Joined implements Timed {
  wasDialled = false;
  private readonly reactor: Reactor;
  private readonly link: WorkerLink;
  private readonly closed: (error: BridgeError | undefined) => void;
  private connection!: Connection;
  private channel: Channel | undefined;
  private deadline: Deadline | undefined;
  private counters = new SharedCounters();
  private pace: Pace | undefined;

  constructor(reactor: Reactor, link: WorkerLink, closed: (error: BridgeError | undefined) => void) {
    this.reactor = reactor;
    this.link = link;
    this.closed = closed;
  }

  /** Keeps a channel of the peer until there is a socket for it. */
  await(channel: Channel): void {
    this.channel = channel;
    const end = new ChannelEnd(true);
    end.bind(channel);
    channel.handler = end.events();
    this.connection = new Connection(end, this.hooks);
  }

  dialled(order: SocketOrder & { type: 'socket-dialled' }): void {
    const end = this.endOf(order, (bytes) => {
      this.counters.bytesDown += bytes;
    });
    end.feed(this.channel!);
    const errno = end.watch();
    if (errno !== 0) {
      end.attach(NOBODY);
      end.reset(STOPPED);
      return this.connection.dialFailed(systemError('epoll_ctl', 'a socket', errno));
    }
    this.wasDialled = true;
    this.connection.dialled(end);
  }

  /** Opens a channel for a client. */
  connect(order: SocketOrder & { type: 'socket-connect' }): void {
    const client = this.endOf(order, (bytes) => {
      this.counters.bytesUp += bytes;
    });
    this.connection = new Connection(client, this.hooks);
    const errno = client.watch();
    if (errno !== 0) return this.connection.dialFailed(systemError('epoll_ctl', 'a client', errno));
    const tunnel = new ChannelEnd(true);
    this.deadline = this.reactor.deadlinesOf(ANSWER_MS).add(this, this.reactor.now);
    try {
      const { destination } = decodeDestination(Buffer.from(order.destination), 0);
      const handler = {
        ...tunnel.events(),
        dialResult: (result: number) => this.answered(result, tunnel),
        reset: (result: number) => {
          if (this.deadline !== undefined) this.answered(result || ERRNO.ECONNRESET, tunnel);
          tunnel.aborted(result);
        },
      };
      const channel = this.link.session.open(destination, handler, order.details);
      this.channel = channel;
      tunnel.bind(channel);
      client.feed(channel);
    } catch (error) {
      this.clearDeadline();
      this.connection.dialFailed(
        error instanceof BridgeError ? error : new BridgeError('IO', 'internal error', { cause: error }),
      );
    }
  }

  /** @param dial whether it was not reached; else it is to end */
  fail(dial: boolean, errno: number): void {
    const reason = new BridgeError(dial ? 'DIAL_FAILED' : 'CANCELLED', 'the main thread says so', { errno });
    if (dial) this.connection.dialFailed(reason);
    else this.connection.stop(reason);
  }

  expired(): void {
    this.deadline = undefined;
    this.channel?.reset(ERRNO.ETIMEDOUT);
    this.connection.dialFailed(failure(ERRNO.ETIMEDOUT));
  }

  private answered(errno: number, tunnel: ChannelEnd): void {
    if (this.deadline === undefined) return;
    this.clearDeadline();
    if (errno !== 0) return this.connection.dialFailed(failure(errno));
    this.wasDialled = true;
    this.connection.dialled(tunnel);
  }

  private giveUp(errno: number): void {
    if (this.deadline === undefined) return;
    this.clearDeadline();
    this.channel?.reset(errno);
  }

  private clearDeadline(): void {
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.deadline = undefined;
  }

  private endOf(
    { fd, tcp, early, counters, bytes }: SocketOrder & { type: 'socket-dialled' | 'socket-connect' },
    drawn: (bytes: number) => void,
  ): DescriptorEnd {
    const { reactor, link } = this;
    this.counters = new SharedCounters(counters);
    if (bytes !== undefined) this.pace = reactor.paceOf(bytes);
    reactor.own(fd);
    const end = new DescriptorEnd(reactor, fd, tcp ? PLAIN_TCP : PLAIN_UNIX, link.boxes, drawn, this.pace);
    if (early.length > 0) end.lead(Buffer.from(early));
    return end;
  }

  private get hooks(): ConnectionHooks {
    const joined = this;
    return {
      counters: this.tally,
      get pace() {
        return joined.pace;
      },
      cancelDial: () => this.giveUp(ERRNO.ECANCELED),
      closed: this.closed,
    };
  }

  /** The memory to count in comes with the socket, before any byte does; so does the pace. */
  private get tally(): RelayCounters {
    const joined = this;
    return {
      get bytesUp() {
        return joined.counters.bytesUp;
      },
      set bytesUp(bytes) {
        joined.counters.bytesUp = bytes;
      },
      get bytesDown() {
        return joined.counters.bytesDown;
      },
      set bytesDown(bytes) {
        joined.counters.bytesDown = bytes;
      },
    };
  }
}

const NOBODY = { data() {}, ended() {}, reset() {}, drained() {}, closed() {} };
const STOPPED = new BridgeError('CANCELLED', 'the connection is over');

function failure(errno: number): BridgeError {
  return new BridgeError('DIAL_FAILED', 'the other side could not reach it', { errno });
}

function keyOf(link: number, number: number): string {
  return `${link}:${number}`;
}
