import { ERRNO } from '../../errors.ts';
import { type Deadline, removeDeadline, type Timed } from './deadlines.ts';
import { COPY_BYTES, type Reactor, type Task, type Watcher } from './reactor.ts';

/** How long an aborted or refused stream is kept open and silent for its peer to close it, milliseconds. */
const LINGER_MS = 2_000;
const MAX_READS = 16;

/**
 * A dedicated stream that we gave up: what still comes is dropped until its peer has closed it. An end that
 * overtook the word of its abort would pass for a clean one, so it is not closed before that was said.
 */
export class AbortedStream implements Watcher, Timed, Task {
  private readonly reactor: Reactor;
  private readonly fd: number;
  private deadline: Deadline | undefined;
  private said = false;
  private peerClosed = false;
  private closed = false;

  /** Takes over a descriptor that is watched. */
  constructor(reactor: Reactor, fd: number) {
    this.reactor = reactor;
    this.fd = fd;
    reactor.hand(fd, this);
    reactor.lingering++;
    reactor.later(this);
  }

  /** The abort has been said, or cannot be. */
  announced(): void {
    if (this.said) return;
    this.said = true;
    if (this.peerClosed) this.close();
    else this.deadline = this.reactor.deadlinesOf(LINGER_MS).add(this, this.reactor.now);
  }

  expired(): void {
    this.close();
  }

  ready(): void {
    this.run();
  }

  run(): void {
    const { libc, buffer } = this.reactor;
    for (let reads = 0; reads < MAX_READS; reads++) {
      if (this.closed || this.peerClosed) return;
      const count = libc.read(this.fd, buffer.address, COPY_BYTES);
      if (count > 0) continue;
      if (count < 0 && libc.errno() === ERRNO.EAGAIN) return;
      this.peerClosed = true;
      if (this.said) this.close();
      return;
    }
    this.reactor.later(this);
  }

  private close(): void {
    if (this.closed) return;
    this.closed = true;
    this.reactor.lingering--;
    if (this.deadline !== undefined) removeDeadline(this.deadline);
    this.reactor.close(this.fd);
  }
}
