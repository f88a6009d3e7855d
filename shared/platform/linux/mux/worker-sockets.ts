/**
 * In a worker: joins sockets that the main thread hands over to channels of links that live here, either way round.
 * Whom to dial and whom to let in is the main thread's to say.
 */
import { decodeDestination, encodeDestination } from '../../../destination.ts';
import { BridgeError } from '../../../errors.ts';
import { SharedCounters } from '../../../link/shared-counters.ts';
import type { Channel } from '../../../mux/channel.ts';
import type { Pace } from '../../../pace.ts';
import { ChannelEnd } from '../../../relay/channel-end.ts';
import { Connection, type ConnectionHooks } from '../../../relay/connection.ts';
import { NOBODY } from '../../../relay/end.ts';
import { encodeDetails } from '../../../stream-details.ts';
import { systemError } from '../errno.ts';
import type { Reactor } from '../reactor.ts';
import { PLAIN_TCP, PLAIN_UNIX } from '../side.ts';
import { ChannelDial } from './channel-dial.ts';
import { DescriptorEnd } from './descriptor-end.ts';
import { MESSAGE_BYTES } from './link-orders.ts';
import type { SocketOrder, SocketReport } from './socket-orders.ts';
import type { WorkerLink } from './worker-links.ts';

export class WorkerSockets {
  private readonly reactor: Reactor;
  private readonly post: (report: SocketReport) => void;
  /** By link and number. */
  private readonly joined = new Map<string, Joined>();
  private last = 0;

  constructor(reactor: Reactor, post: (report: SocketReport) => void) {
    this.reactor = reactor;
    this.post = post;
  }

  /**
   * The peer has opened a channel: the main thread is asked for its socket. That is by a number of ours: the id of a
   * channel is free again once the peer has reset it, while the main thread still dials for it.
   */
  wanted(channel: Channel, link: WorkerLink): void {
    const number = ++this.last;
    const joined = new Joined(this.reactor, link, (error) => this.over(link.number, number, error));
    this.joined.set(keyOf(link.number, number), joined);
    joined.await(channel);
    const destination = encodeDestination(channel.destination);
    const details = encodeDetails(channel.details);
    const bytes = destination.length + details.length + MESSAGE_BYTES;
    link.passOn(bytes);
    this.post({
      type: 'socket-wanted',
      link: link.number,
      number,
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
class Joined {
  wasDialled = false;
  private readonly reactor: Reactor;
  private readonly link: WorkerLink;
  private readonly dial: ChannelDial;
  private readonly hooks: ConnectionHooks & { pace: Pace | undefined };
  /** Where it counts comes with the socket, before any byte does, as the pace does. */
  private readonly counters = new SharedCounters();
  private connection!: Connection;
  private channel: Channel | undefined;

  constructor(reactor: Reactor, link: WorkerLink, closed: (error: BridgeError | undefined) => void) {
    this.reactor = reactor;
    this.link = link;
    this.dial = new ChannelDial(reactor, link, (errno, end) => {
      this.wasDialled = errno === 0;
      if (errno === 0) this.connection.dialled(end);
      else this.connection.dialFailed(new BridgeError('DIAL_FAILED', 'it was not reached', { errno }));
    });
    this.hooks = {
      counters: this.counters,
      pace: undefined,
      cancelDial: () => this.dial.cancel(),
      closed,
    };
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
    try {
      const { destination } = decodeDestination(Buffer.from(order.destination), 0);
      client.feed(this.dial.open(destination, order.details));
    } catch (error) {
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

  private endOf(
    { fd, tcp, early, counters, bytes }: SocketOrder & { type: 'socket-dialled' | 'socket-connect' },
    drawn: (bytes: number) => void,
  ): DescriptorEnd {
    const { reactor, link, hooks } = this;
    this.counters.cells = counters;
    if (bytes !== undefined) hooks.pace = reactor.paceOf(bytes);
    reactor.own(fd);
    const end = new DescriptorEnd(reactor, fd, tcp ? PLAIN_TCP : PLAIN_UNIX, link.boxes, drawn, hooks.pace);
    if (early.length > 0) end.lead(Buffer.from(early));
    return end;
  }
}

const STOPPED = new BridgeError('CANCELLED', 'the connection is over');

function keyOf(link: number, number: number): string {
  return `${link}:${number}`;
}
