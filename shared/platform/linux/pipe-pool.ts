import type { Arena, Piece } from './arena.ts';
import { F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import type { Ledger } from './ledger.ts';
import type { Libc } from './libc.ts';

/** What a pipe holds, bytes; an unprivileged user may have 64 MiB of pipes in all (pipe(7), pipe-user-pages-soft). */
export const PIPE_BYTES = 1024 * 1024;
/** A pipe that the kernel did not let grow is not worth its two descriptors. */
const LEAST_BYTES = 64 * 1024;
const MAX_PIPES = 48;
const MAX_IDLE = 16;
/** How long the system is not asked again when it gave none, milliseconds. */
const PAUSE_MS = 100;

export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
  readonly capacity: number;
}

/** Pipes for splicing: made when first wanted, few, used again when they are empty. */
export class PipePool {
  private readonly libc: Libc;
  private readonly ledger: Ledger;
  private readonly pair: Piece;
  private readonly idle: Pipe[] = [];
  private made = 0;
  private notBefore = 0;

  constructor(libc: Libc, arena: Arena, ledger: Ledger) {
    this.libc = libc;
    this.ledger = ledger;
    this.pair = arena.carve(8);
  }

  /** Pipes that are open now. */
  get size(): number {
    return this.made;
  }

  /** @returns undefined when there are enough, or the system gives none: then copy */
  take(): Pipe | undefined {
    const idle = this.idle.pop();
    if (idle !== undefined) return idle;
    if (this.made >= MAX_PIPES || (this.notBefore > 0 && performance.now() < this.notBefore))
      return undefined;
    if (this.libc.pipe2(this.pair.address, O_NONBLOCK | O_CLOEXEC) < 0) {
      this.notBefore = performance.now() + PAUSE_MS;
      return undefined;
    }
    const readFd = this.pair.bytes.readInt32LE(0);
    const writeFd = this.pair.bytes.readInt32LE(4);
    this.made++;
    this.ledger.add(readFd);
    this.ledger.add(writeFd);
    const capacity = this.libc.fcntl(writeFd, F_SETPIPE_SZ, PIPE_BYTES);
    const pipe = { readFd, writeFd, capacity: capacity < 0 ? LEAST_BYTES : capacity };
    if (capacity >= 0) return pipe;
    this.drop(pipe);
    return undefined;
  }

  /** Takes a pipe back. @param clean whether nothing is left in it; else it is closed, never used again */
  give(pipe: Pipe, clean: boolean): void {
    if (clean && this.idle.length < MAX_IDLE) this.idle.push(pipe);
    else this.drop(pipe);
  }

  closeIdle(): void {
    for (const pipe of this.idle.splice(0)) this.drop(pipe);
  }

  private drop({ readFd, writeFd }: Pipe): void {
    this.made--;
    for (const fd of [readFd, writeFd]) {
      this.ledger.remove(fd);
      this.libc.close(fd);
    }
  }
}
