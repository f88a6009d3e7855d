import { ERRNO, type ErrorCode } from '../../../shared/errors.ts';
import type { Pace } from '../../../shared/pace.ts';
import type { AbortedStream } from '../../../shared/platform/linux/aborted-stream.ts';
import { COPY_BYTES } from '../../../shared/platform/linux/reactor.ts';
import { BYTES_UP, Relay, type RelayOwner } from '../../../shared/platform/linux/relay.ts';
import { PLAIN_TCP, PLAIN_UNIX, STREAM_MASK } from '../../../shared/platform/linux/side.ts';
import { decodeIp } from '../../../shared/platform/linux/sockaddr.ts';
import { RESULT_BYTES } from '../../../shared/preface.ts';
import type { ForwardListener } from './forward-listener.ts';
import type { HostPath } from './host-path.ts';
import { TunnelDial } from './tunnel-dial.ts';

/** Most that is sent with a preface; every stream has room for it. */
const EARLY_BYTES = 8 * 1024;

/** One client of a forward in a worker: opens its dedicated stream, and hands both to a Relay. */
export class HostConnection extends TunnelDial<ForwardListener> implements RelayOwner {
  readonly relay: Relay;
  readonly counters: Float64Array;
  readonly pace: Pace;
  protected readonly peer: Buffer;
  private readonly header: Buffer | undefined;

  /** Takes over a client that was just accepted. @param peer the address it came from */
  constructor(forward: ForwardListener, path: HostPath, client: number, peer: Buffer) {
    super(path, forward);
    this.peer = peer;
    this.counters = forward.counters;
    this.pace = forward.pace;
    this.header = forward.headerFor(client);
    this.relay = new Relay(forward.reactor, client, forward.tcp ? PLAIN_TCP : PLAIN_UNIX, this);
  }

  /** Watches the client and dials. */
  serve(): void {
    const { initiating } = this.relay;
    const errno = this.reactor.watch(initiating.fd, STREAM_MASK, initiating);
    if (errno === 0) this.begin();
    else this.relay.dialFailed(errno);
  }

  get dialling(): boolean {
    return this.relay.dialling;
  }

  get moved(): number {
    return this.relay.moved;
  }

  stop(): void {
    this.relay.stop();
  }

  cancelDial(): void {
    this.cancel();
  }

  confirmEnd(relay: Relay, hurry: boolean): void {
    this.source.streams.confirm(this.path.owner, relay, hurry);
  }

  announceReset(_relay: Relay, stream: AbortedStream, errno: number): void {
    this.announce(stream, errno);
  }

  released(_relay: Relay, errno: number): void {
    this.forget();
    this.source.released(this, errno);
  }

  protected override get answerRoom(): number {
    return this.pace.limited ? RESULT_BYTES : COPY_BYTES;
  }

  protected override exhausted(errno: number): void {
    this.source.exhausted(errno);
  }

  protected override opened(fd: number, flags: number, early: Buffer): void {
    this.relay.dialled(fd, this.path.kind, flags, { down: early });
  }

  protected override unreachable(errno: number, why: string, code?: ErrorCode): void {
    this.source.dialFailed(errno, why, decodeIp(this.peer), code);
    this.relay.dialFailed(errno);
  }

  protected override aborted(errno: number): void {
    this.relay.resetByPeer(errno);
  }

  /**
   * What the client has sent already goes with the preface, which spares the shim a wake-up. It tells the client
   * nothing: a dial that fails resets it all the same. The header goes before it.
   */
  protected override readEarly(at: number): number {
    const { header, reactor } = this;
    if (header === undefined) return this.readClient(reactor.buffer.address + at);
    header.copy(reactor.buffer.bytes, at);
    const count = this.readClient(reactor.buffer.address + at + header.length);
    return count < 0 ? count : header.length + count;
  }

  private readClient(address: number): number {
    const { reactor, source, relay } = this;
    if (this.pace.limited || !source.early.worthTrying()) return 0;
    const { initiating } = relay;
    const count = reactor.libc.read(initiating.fd, address, EARLY_BYTES);
    source.early.learn(count > 0);
    if (count > 0) this.counters[BYTES_UP]! += count;
    // Edges are told once: what a full read left, or the end, has to be looked for again.
    if (count === EARLY_BYTES || count === 0) initiating.readable = true;
    if (count >= 0) return count;
    const errno = reactor.libc.errno();
    if (errno === ERRNO.EAGAIN) return 0;
    relay.failed(initiating, errno);
    return -1;
  }
}
