import type { Arena, Piece } from './arena.ts';
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD } from './constants.ts';
import { systemError } from './errno.ts';
import type { Libc } from './libc.ts';

/** Where the fields of `struct epoll_event` are: packed on x86-64 only (include/uapi/linux/eventpoll.h). */
export interface EventLayout {
  readonly size: number;
  readonly data: number;
}

export function eventLayout(arch: string): EventLayout {
  return arch === 'x64' ? { size: 12, data: 4 } : { size: 16, data: 8 };
}

const MAX_EVENTS = 256;

/**
 * An epoll set. What was registered for a descriptor is told from what had its number before by a
 * generation, because one batch of events can name a descriptor that was closed while it was worked through.
 */
export class Epoll {
  readonly fd: number;
  private readonly libc: Libc;
  private readonly layout: EventLayout;
  private readonly events: Piece;
  private readonly request: Piece;
  private readonly words: Uint32Array;
  private readonly requestWords: Uint32Array;

  constructor(libc: Libc, arena: Arena, arch: string = process.arch) {
    this.libc = libc;
    this.layout = eventLayout(arch);
    this.events = arena.carve(MAX_EVENTS * this.layout.size);
    this.request = arena.carve(this.layout.size);
    this.words = wordsOf(this.events);
    this.requestWords = wordsOf(this.request);
    this.fd = libc.epoll_create1(EPOLL_CLOEXEC);
    if (this.fd < 0) throw systemError('epoll_create1', 'a worker', libc.errno());
  }

  /** @returns 0, or the errno */
  add(fd: number, mask: number, generation: number): number {
    return this.control(EPOLL_CTL_ADD, fd, mask, generation);
  }

  modify(fd: number, mask: number, generation: number): number {
    return this.control(EPOLL_CTL_MOD, fd, mask, generation);
  }

  /** Closing a descriptor that has no copy does the same. */
  remove(fd: number): void {
    this.control(EPOLL_CTL_DEL, fd, 0, 0);
  }

  /** @returns how many events there are now; none when a signal came */
  wait(timeoutMs: number): number {
    const count = this.libc.epoll_wait(this.fd, this.events.address, MAX_EVENTS, timeoutMs);
    return count < 0 ? 0 : count;
  }

  flagsAt(index: number): number {
    return this.words[(index * this.layout.size) >> 2]!;
  }

  fdAt(index: number): number {
    return this.words[(index * this.layout.size + this.layout.data) >> 2]!;
  }

  generationAt(index: number): number {
    return this.words[(index * this.layout.size + this.layout.data + 4) >> 2]!;
  }

  private control(operation: number, fd: number, mask: number, generation: number): number {
    const data = this.layout.data >> 2;
    this.requestWords[0] = mask;
    this.requestWords[data] = fd;
    this.requestWords[data + 1] = generation;
    return this.libc.epoll_ctl(this.fd, operation, fd, this.request.address) < 0 ? this.libc.errno() : 0;
  }
}

function wordsOf({ bytes }: Piece): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
}
