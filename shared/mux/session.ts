/**
 * One session of the multiplexer, pure: bytes in by `receive`, bytes out by `take`. It knows no stream; a
 * driver moves the bytes. Frames without payload go out first and in order; payload is taken from the
 * channels in turn, a quantum each, so that a bulk channel delays a small one by one quantum at most.
 * A peer that breaks the protocol ends the session (`receive` throws); nothing else of the process.
 */
import type { Destination } from '../destination.ts';
import { BridgeError, ERRNO } from '../errors.ts';
import type { StreamDetails } from '../stream-details.ts';
import { Channel, type ChannelHandler, type ChannelHost } from './channel.ts';
import { FrameDecoder, type FrameSink } from './decoder.ts';
import { EventRing } from './event-ring.ts';
import {
  COMMAND,
  encodeControlHeader,
  encodeErrno,
  encodeOpen,
  encodePing,
  MAX_CONTROL_BYTES,
} from './frame.ts';
import { CreditBudget, ReceiveWindow, type WindowSizes } from './window.ts';

/** Payload that a channel may send before it is another's turn, bytes; more when nobody else waits. */
const QUANTUM = 32 * 1024;
const QUANTUM_ALONE = 256 * 1024;
/** Send queues of the whole session past which every writer is asked to wait, bytes. */
const SESSION_HIGH_WATER = 32 * 1024 * 1024;

/** Which extensions both sides listed. All false towards a vpnkit peer. */
export interface MuxExtensions {
  readonly dialResults: boolean;
  readonly resets: boolean;
  readonly control: boolean;
  readonly dedicated: boolean;
  readonly pings: boolean;
  readonly details: boolean;
}

export interface SessionEvents {
  /** The peer opened a channel: set `channel.handler`, then call `accept` or `refuse`, now or later. */
  open(channel: Channel): void;
  control(payload: Buffer): void;
  streamReset(streamId: number, errno: number): void;
  /** The peer has answered a ping, or pretends to. */
  pong?(number: number): void;
  /** There is output to `take`. May be called within any call of the session. */
  writable(): void;
}

export interface SessionOptions {
  /** The side that dialled the transport counts ids down from 0xffffffff, the other up from 0. */
  readonly ids: 'down' | 'up';
  readonly extensions: MuxExtensions;
  readonly windows: WindowSizes;
  /** Most channels at once; an Open past it is refused. */
  readonly maxChannels: number;
}

const NO_HANDLER: ChannelHandler = {
  dialResult() {},
  data() {},
  end() {},
  reset() {},
  drain() {},
  flushed() {},
  closed() {},
};

const NOTHING = new Uint8Array(0);

export class MuxSession implements FrameSink, ChannelHost {
  readonly ring = new EventRing();
  readonly dialResults: boolean;
  readonly resets: boolean;
  /** Frames dropped because their channel is unknown (it may just have been closed). */
  strays = 0;
  /** Opens refused because of `maxChannels`. */
  refused = 0;
  /** Bytes that the peer has sent, of whatever kind. */
  received = 0;
  private readonly options: SessionOptions;
  private readonly events: SessionEvents;
  private readonly channels = new Map<number, Channel>();
  private readonly decoder = new FrameDecoder(this);
  private readonly budget: CreditBudget;
  private readonly sending = new Set<Channel>();
  private urgent: Buffer[] = [];
  private urgentBytes = 0;
  private queuedBytes = 0;
  private nextId: number;
  private failed = false;

  constructor(options: SessionOptions, events: SessionEvents) {
    this.options = options;
    this.events = events;
    this.dialResults = options.extensions.dialResults;
    this.resets = options.extensions.resets;
    this.budget = new CreditBudget(options.windows);
    this.nextId = options.ids === 'down' ? 0xffff_ffff : 0;
  }

  /**
   * Opens a channel to a destination behind the peer.
   * @param details as encodeDetails has them; left out where the peer does not know them
   * @throws BridgeError LIMIT_REACHED, or LINK_LOST when the session has ended
   */
  open(destination: Destination, handler: ChannelHandler, details: Uint8Array = NOTHING): Channel {
    if (this.failed) throw new BridgeError('LINK_LOST', 'the link to the VM is down');
    if (this.channels.size >= this.options.maxChannels)
      throw new BridgeError(
        'LIMIT_REACHED',
        `the link carries its most channels (${this.options.maxChannels})`,
      );
    const id = this.freeId();
    const known = this.options.extensions.details ? details : NOTHING;
    this.send(encodeOpen(id, destination, known), COMMAND.open, id, 0);
    const channel = new Channel(id, destination, this, new ReceiveWindow(this.budget), {
      opener: true,
      handler,
    });
    this.channels.set(id, channel);
    return channel;
  }

  /** Sends a control message. @throws BridgeError UNSUPPORTED when the peer did not negotiate them */
  sendControl(payload: Buffer): void {
    if (!this.options.extensions.control)
      throw new BridgeError('UNSUPPORTED', 'the peer takes no control messages');
    if (payload.length > MAX_CONTROL_BYTES)
      throw new BridgeError('BAD_REQUEST', `control message of ${payload.length} bytes is too large`);
    this.send(encodeControlHeader(payload.length), COMMAND.control, 0, payload.length);
    this.urgent.push(payload);
    this.urgentBytes += payload.length;
  }

  /** Says that dedicated stream `streamId` is being aborted. */
  sendStreamReset(streamId: number, errno: number): void {
    this.send(encodeErrno(COMMAND.streamReset, streamId, errno), COMMAND.streamReset, streamId, errno);
  }

  /** Asks the peer to send a number back. It overtakes the payload that waits. */
  sendPing(number: number): void {
    this.send(encodePing(COMMAND.ping, number), COMMAND.ping, 0, number);
  }

  /** Takes bytes from the peer. @throws BridgeError PROTOCOL; the session must then be ended with `fail` */
  receive(chunk: Buffer): void {
    this.received += chunk.length;
    if (!this.failed) this.decoder.push(chunk);
  }

  /** All that has come is whole frames, and nothing was opened. */
  get betweenFrames(): boolean {
    return this.decoder.atBoundary && this.channels.size === 0;
  }

  get hasOutput(): boolean {
    return this.urgent.length > 0 || this.sending.size > 0;
  }

  /** Bytes of frames without payload that wait: they grow when the peer asks much and reads nothing. */
  get backlog(): number {
    return this.urgentBytes;
  }

  get channelCount(): number {
    return this.channels.size;
  }

  /** Credit that is out, bytes: the most that the peer can make us hold now. */
  get creditOut(): number {
    return this.budget.out;
  }

  /** The next frames to send, in at most about `maxBytes` of payload. */
  take(maxBytes: number): Buffer[] {
    const out = this.urgent;
    this.urgent = [];
    this.urgentBytes = 0;
    const touched: Channel[] = [];
    let room = maxBytes;
    while (room > 0 && this.sending.size > 0) {
      const [channel] = this.sending;
      this.sending.delete(channel!);
      const quantum = this.sending.size === 0 ? QUANTUM_ALONE : QUANTUM;
      const { bytes, more } = channel!.takeInto(out, Math.min(quantum, room));
      room -= bytes;
      if (bytes > 0) this.ring.record(true, COMMAND.data, channel!.id, bytes);
      if (more) this.sending.add(channel!);
      touched.push(channel!);
    }
    for (const channel of touched) channel.afterTake();
    return out;
  }

  /** Ends the session: every channel is reset with `errno`. */
  fail(errno: number): void {
    if (this.failed) return;
    this.failed = true;
    this.urgent = [];
    this.sending.clear();
    const channels = [...this.channels.values()];
    this.channels.clear();
    for (const channel of channels) channel.lost(errno);
  }

  /** What happened lately and what is open, for the log after a protocol error. */
  dump(): string[] {
    const open = [...this.channels.values()].slice(0, 64).map((channel) => channel.describe());
    return [...this.ring.dump(), ...open];
  }

  // ---- ChannelHost ----

  send(frame: Buffer, command: number, id: number, value: number): void {
    if (this.failed) return;
    this.ring.record(true, command, id, value);
    this.urgent.push(frame);
    this.urgentBytes += frame.length;
    this.events.writable();
  }

  ready(channel: Channel): void {
    if (this.failed) return;
    this.sending.add(channel);
    this.events.writable();
  }

  free(channel: Channel): void {
    this.sending.delete(channel);
    this.channels.delete(channel.id);
  }

  queueChanged(delta: number): boolean {
    this.queuedBytes += delta;
    return this.queuedBytes > SESSION_HIGH_WATER;
  }

  // ---- FrameSink ----

  dataBegin(id: number, length: number): void {
    this.ring.record(false, COMMAND.data, id, length);
    this.find(id)?.dataArrives(length);
  }

  data(id: number, slice: Buffer): void {
    this.channels.get(id)?.onData(slice);
  }

  window(id: number, sequence: number): void {
    this.ring.record(false, COMMAND.window, id, sequence);
    this.find(id)?.onWindow(sequence);
  }

  shutdown(id: number): void {
    this.ring.record(false, COMMAND.shutdown, id, 0);
    this.find(id)?.onShutdown();
  }

  close(id: number): void {
    this.ring.record(false, COMMAND.close, id, 0);
    this.find(id)?.onClose();
  }

  dialResult(id: number, errno: number): void {
    this.ring.record(false, COMMAND.dialResult, id, errno);
    this.require(this.dialResults, 'dial result');
    this.find(id)?.onDialResult(errno);
  }

  reset(id: number, errno: number): void {
    this.ring.record(false, COMMAND.reset, id, errno);
    this.require(this.resets, 'reset');
    this.find(id)?.onClose(errno);
  }

  streamReset(id: number, errno: number): void {
    this.ring.record(false, COMMAND.streamReset, id, errno);
    this.require(this.options.extensions.dedicated, 'reset of a dedicated stream');
    this.events.streamReset(id, errno);
  }

  control(payload: Buffer): void {
    this.ring.record(false, COMMAND.control, 0, payload.length);
    this.require(this.options.extensions.control, 'control message');
    this.events.control(payload);
  }

  ping(number: number): void {
    this.ring.record(false, COMMAND.ping, 0, number);
    this.require(this.options.extensions.pings, 'ping');
    this.send(encodePing(COMMAND.pong, number), COMMAND.pong, 0, number);
  }

  pong(number: number): void {
    this.ring.record(false, COMMAND.pong, 0, number);
    this.require(this.options.extensions.pings, 'pong');
    this.events.pong?.(number);
  }

  /** The peer opens a channel. */
  opened(id: number, destination: Destination, details: StreamDetails | undefined): void {
    this.ring.record(false, COMMAND.open, id, 0);
    if (details !== undefined) this.require(this.options.extensions.details, 'bytes behind the destination');
    if (this.channels.has(id)) throw new BridgeError('PROTOCOL', `channel ${id} opened twice`);
    // Refused channels stay until the peer's Close; a peer that never sends it runs into this.
    if (this.channels.size >= 2 * this.options.maxChannels)
      throw new BridgeError('PROTOCOL', `flood of refused channels (${this.channels.size})`);
    const channel = new Channel(id, destination, this, new ReceiveWindow(this.budget), {
      opener: false,
      handler: NO_HANDLER,
      details,
    });
    const full = this.channels.size >= this.options.maxChannels;
    this.channels.set(id, channel);
    if (!full) return this.events.open(channel);
    this.refused++;
    channel.refuse(ERRNO.ENOBUFS);
  }

  private require(negotiated: boolean, what: string): void {
    if (!negotiated) throw new BridgeError('PROTOCOL', `${what} without having negotiated it`);
  }

  private find(id: number): Channel | undefined {
    const channel = this.channels.get(id);
    if (channel === undefined) this.strays++;
    return channel;
  }

  private freeId(): number {
    const step = this.options.ids === 'down' ? -1 : 1;
    let id = this.nextId;
    while (this.channels.has(id)) id = (id + step) >>> 0;
    this.nextId = (id + step) >>> 0;
    return id;
  }
}
