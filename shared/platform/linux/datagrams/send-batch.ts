/**
 * Datagrams on their way to sendmmsg(2), sent from where they lie. Runs of one size to one destination become one
 * message that the kernel cuts again (UDP_SEGMENT, udp(7)), which saves most of what a datagram costs. What the
 * kernel does not take is lost and counted: nothing waits here.
 */
import { ERRNO } from '../../../errors.ts';
import { Arena } from '../arena.ts';
import type { Libc } from '../libc.ts';
import {
  IOV_BASE,
  IOV_LEN,
  IOVEC_WORDS,
  MMSGHDR_WORDS,
  MSG_CONTROL,
  MSG_CONTROLLEN,
  MSG_IOV,
  MSG_IOVLEN,
  MSG_NAME,
  MSG_NAMELEN,
  putPointer,
  putSegmentSize,
  SEGMENT_SPACE,
} from './message-layout.ts';
import { MSG_DONTWAIT } from './numbers.ts';

/** Datagrams of a batch, and messages of a call. */
const MAX_DATAGRAMS = 512;
const MAX_MESSAGES = 64;
/** UDP_MAX_SEGMENTS before Linux 6.9. */
const MAX_SEGMENTS = 64;
/** The segments of a message are one datagram to IP until they are cut. */
const MAX_SEGMENTED_BYTES = 65_000;
const NAME_WORDS = 8;
const CONTROL_WORDS = 16;

/** Where datagrams go; the buffers must not change. */
export interface DatagramTarget {
  /** Socket address; empty on a connected socket. */
  readonly name: Buffer;
  /** Control message with the local address to send from; may be empty. */
  readonly control: Buffer;
  /** The kernel cuts messages for it: taken for granted until it refuses (no checksum offload, small MTU). */
  segments: boolean;
}

export class SendBatch {
  /** Datagrams that were not taken, ever. */
  errors = 0;
  private readonly libc: Libc;
  private readonly address: number;
  private readonly words: Uint32Array;
  private readonly bytes: Buffer;
  private readonly targets: DatagramTarget[] = new Array(MAX_DATAGRAMS).fill(NOBODY);
  private readonly addresses = new Float64Array(MAX_DATAGRAMS);
  private readonly lengths = new Uint32Array(MAX_DATAGRAMS);
  /** Whose name and control each message has. */
  private readonly prepared: DatagramTarget[] = new Array(MAX_MESSAGES).fill(NOBODY);
  /** Which datagram each message begins with, and one more. */
  private readonly firsts = new Uint32Array(MAX_MESSAGES + 1);
  private count = 0;

  constructor(libc: Libc) {
    this.libc = libc;
    const bytes = 4 * TOTAL_WORDS;
    const piece = new Arena(libc, bytes).carve(bytes);
    this.address = piece.address;
    this.bytes = piece.bytes;
    this.words = new Uint32Array(piece.bytes.buffer, piece.bytes.byteOffset, TOTAL_WORDS);
  }

  /** A datagram more; its bytes have to stay where they are until `flush`, which has to come when it is full. */
  add(target: DatagramTarget, address: number, length: number): void {
    this.targets[this.count] = target;
    this.addresses[this.count] = address;
    this.lengths[this.count++] = length;
  }

  get full(): boolean {
    return this.count === MAX_DATAGRAMS;
  }

  /** Sends what was added. @returns how many datagrams were taken */
  flush(fd: number): number {
    const { count } = this;
    this.count = 0;
    let sent = 0;
    for (let from = 0; from < count; ) {
      let messages = 0;
      let next = from;
      while (next < count && messages < MAX_MESSAGES) {
        this.firsts[messages] = next;
        next = this.compose(messages++, next, count);
      }
      this.firsts[messages] = next;
      sent += this.send(fd, messages);
      from = next;
    }
    this.errors += count - sent;
    return sent;
  }

  /** Makes a message of the datagrams from `first` on. @returns the one behind it */
  private compose(message: number, first: number, count: number): number {
    const target = this.targets[first]!;
    const length = this.lengths[first]!;
    let end = first + 1;
    if (target.segments && length > 0) {
      const most = Math.min(count, first + Math.min(MAX_SEGMENTS, (MAX_SEGMENTED_BYTES / length) | 0));
      while (end < most && this.targets[end] === target && this.lengths[end] === length) end++;
    }
    this.fill(message, first, end);
    return end;
  }

  private fill(message: number, first: number, end: number): void {
    const { words } = this;
    const target = this.targets[first]!;
    const at = message * MMSGHDR_WORDS;
    if (this.prepared[message] !== target) this.prepare(message, target);
    for (let index = first; index < end; index++) {
      const vector = VECTORS + index * IOVEC_WORDS;
      putPointer(words, vector + IOV_BASE, this.addresses[index]!);
      words[vector + IOV_LEN] = this.lengths[index]!;
    }
    putPointer(words, at + MSG_IOV, this.address + 4 * (VECTORS + first * IOVEC_WORDS));
    words[at + MSG_IOVLEN] = end - first;
    let control = target.control.length;
    if (end - first > 1) {
      const begin = CONTROLS + message * CONTROL_WORDS;
      putSegmentSize(words, begin + (control >> 2), this.lengths[first]!);
      control += SEGMENT_SPACE;
    }
    words[at + MSG_CONTROLLEN] = control;
  }

  private prepare(message: number, target: DatagramTarget): void {
    const { words, bytes, address } = this;
    const at = message * MMSGHDR_WORDS;
    const name = 4 * (NAMES + message * NAME_WORDS);
    const control = 4 * (CONTROLS + message * CONTROL_WORDS);
    this.prepared[message] = target;
    bytes.set(target.name, name);
    bytes.set(target.control, control);
    putPointer(words, at + MSG_NAME, target.name.length === 0 ? 0 : address + name);
    words[at + MSG_NAMELEN] = target.name.length;
    putPointer(words, at + MSG_CONTROL, address + control);
  }

  /** @returns how many datagrams of the composed messages were taken */
  private send(fd: number, messages: number): number {
    const { libc, firsts, address } = this;
    let sent = 0;
    let retried = -1;
    for (let at = 0; at < messages; ) {
      const done = libc.sendmmsg(fd, address + 4 * at * MMSGHDR_WORDS, messages - at, MSG_DONTWAIT);
      if (done > 0) {
        sent += firsts[at + done]! - firsts[at]!;
        at += done;
        continue;
      }
      const errno = libc.errno();
      if (errno === ERRNO.EAGAIN || errno === ERRNO.ENOBUFS) return sent;
      // What an earlier datagram ran into is told to the next send, which has not happened then.
      if (isLate(errno) && retried !== at) {
        retried = at;
        continue;
      }
      if (firsts[at + 1]! - firsts[at]! > 1 && isRefusalToCut(errno)) sent += this.sendSingly(fd, at);
      at++;
    }
    return sent;
  }

  /** The kernel has refused to cut a message; it is not asked to for this destination again. */
  private sendSingly(fd: number, message: number): number {
    const { libc, firsts, address } = this;
    this.targets[firsts[message]!]!.segments = false;
    let sent = 0;
    for (let index = firsts[message]!; index < firsts[message + 1]!; index++) {
      this.fill(message, index, index + 1);
      if (libc.sendmmsg(fd, address + 4 * message * MMSGHDR_WORDS, 1, MSG_DONTWAIT) === 1) sent++;
    }
    return sent;
  }
}

function isLate(errno: number): boolean {
  return errno === ERRNO.ECONNREFUSED || errno === ERRNO.EHOSTUNREACH || errno === ERRNO.ENETUNREACH;
}

/** udp_send_skb: no room for the size in the MTU, or a device that computes no checksums. */
function isRefusalToCut(errno: number): boolean {
  return (
    errno === ERRNO.EINVAL || errno === ERRNO.EMSGSIZE || errno === ERRNO.EIO || errno === ERRNO.EOPNOTSUPP
  );
}

const NOBODY: DatagramTarget = { name: Buffer.alloc(0), control: Buffer.alloc(0), segments: false };

/** Where the parts begin, words. */
const VECTORS = MAX_MESSAGES * MMSGHDR_WORDS;
const NAMES = VECTORS + MAX_DATAGRAMS * IOVEC_WORDS;
const CONTROLS = NAMES + MAX_MESSAGES * NAME_WORDS;
const TOTAL_WORDS = CONTROLS + MAX_MESSAGES * CONTROL_WORDS;
