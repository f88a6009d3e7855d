/** A UDP socket of the epoll driver: 64 datagrams a call, both ways. */
import { Arena, type Piece } from '../../../shared/platform/linux/arena.ts';
import {
  IOV_BASE,
  IOV_LEN,
  IOVEC_WORDS,
  MMSGHDR_WORDS,
  MSG_IOV,
  MSG_IOVLEN,
  MSG_LEN,
  MSG_NAME,
  MSG_NAMELEN,
  putPointer,
  SOCKADDR_IN6_BYTES,
} from '../../../shared/platform/linux/datagrams/message-layout.ts';
import { MSG_DONTWAIT } from '../../../shared/platform/linux/datagrams/numbers.ts';
import type { Libc } from '../../../shared/platform/linux/libc.ts';
import { type DatagramHandler, type Datagrams, MAX_DATAGRAM } from './network.ts';

const BATCH = 64;
const NAME_BYTES = 32;

export class EpollDatagrams implements Datagrams {
  private readonly libc: Libc;
  private readonly fd: number;
  private readonly handler: DatagramHandler;
  private readonly closed: () => void;
  /** Message headers, then vectors: of what is received, and of what is sent. */
  private readonly input: Headers;
  private readonly output: Headers;
  private readonly names: Piece;
  private readonly slots: Piece;
  private readonly views: Buffer[] = [];
  /** What `send` sends. */
  private readonly block: Piece;

  constructor(libc: Libc, fd: number, handler: DatagramHandler, closed: () => void) {
    this.libc = libc;
    this.fd = fd;
    this.handler = handler;
    this.closed = closed;
    const arena = new Arena(libc, 64 * 1024 + BATCH * MAX_DATAGRAM);
    this.input = new Headers(arena);
    this.output = new Headers(arena);
    this.names = arena.carve(BATCH * NAME_BYTES);
    this.block = arena.carve(MAX_DATAGRAM);
    this.slots = arena.carve(BATCH * MAX_DATAGRAM);
    for (let index = 0; index < BATCH; index++) {
      this.views.push(this.slots.bytes.subarray(index * MAX_DATAGRAM, (index + 1) * MAX_DATAGRAM));
      this.input.point(index, this.slots.address + index * MAX_DATAGRAM, MAX_DATAGRAM);
      this.input.name(index, this.names.address + index * NAME_BYTES, SOCKADDR_IN6_BYTES);
    }
  }

  ready(): void {
    const { libc, fd, input, output, handler, views } = this;
    for (;;) {
      for (let index = 0; index < BATCH; index++) input.setNameLength(index, SOCKADDR_IN6_BYTES);
      const count = libc.recvmmsg(fd, input.address, BATCH, MSG_DONTWAIT, 0);
      if (count <= 0) return; // an ICMP error of an earlier datagram, or nothing there
      let answers = 0;
      for (let index = 0; index < count; index++) {
        const length = input.length(index);
        if (!handler(views[index]!, length)) continue;
        output.point(answers, this.slots.address + index * MAX_DATAGRAM, length);
        output.name(answers++, this.names.address + index * NAME_BYTES, input.nameLength(index));
      }
      if (answers > 0) libc.sendmmsg(fd, output.address, answers, MSG_DONTWAIT);
      if (count < BATCH) return;
    }
  }

  send(bytes: Buffer, times: number): number {
    const { libc, fd, output, block } = this;
    bytes.copy(block.bytes);
    let sent = 0;
    while (sent < times) {
      const count = Math.min(BATCH, times - sent);
      for (let index = 0; index < count; index++) {
        output.point(index, block.address, bytes.length);
        output.name(index, 0, 0);
      }
      const taken = libc.sendmmsg(fd, output.address, count, MSG_DONTWAIT);
      if (taken <= 0) break;
      sent += taken;
    }
    return sent;
  }

  close(): void {
    this.closed();
  }
}

/** A batch of `struct mmsghdr` with one vector each. */
class Headers {
  readonly address: number;
  private readonly words: Uint32Array;

  constructor(arena: Arena) {
    const bytes = 4 * BATCH * (MMSGHDR_WORDS + IOVEC_WORDS);
    const piece = arena.carve(bytes);
    this.address = piece.address;
    this.words = new Uint32Array(piece.bytes.buffer, piece.bytes.byteOffset, bytes >> 2);
    for (let index = 0; index < BATCH; index++) {
      putPointer(this.words, index * MMSGHDR_WORDS + MSG_IOV, this.address + 4 * vector(index));
      this.words[index * MMSGHDR_WORDS + MSG_IOVLEN] = 1;
    }
  }

  point(index: number, address: number, length: number): void {
    putPointer(this.words, vector(index) + IOV_BASE, address);
    this.words[vector(index) + IOV_LEN] = length;
  }

  name(index: number, address: number, length: number): void {
    putPointer(this.words, index * MMSGHDR_WORDS + MSG_NAME, address);
    this.setNameLength(index, length);
  }

  setNameLength(index: number, length: number): void {
    this.words[index * MMSGHDR_WORDS + MSG_NAMELEN] = length;
  }

  nameLength(index: number): number {
    return this.words[index * MMSGHDR_WORDS + MSG_NAMELEN]!;
  }

  length(index: number): number {
    return this.words[index * MMSGHDR_WORDS + MSG_LEN]!;
  }
}

function vector(index: number): number {
  return BATCH * MMSGHDR_WORDS + index * IOVEC_WORDS;
}
