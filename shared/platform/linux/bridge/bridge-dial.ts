import type { Reactor } from '../reactor.ts';
import { BRIDGED_VSOCK } from '../side.ts';
import { StreamDial } from '../stream-dial.ts';

/** A CID that does not answer is given up by the kernel after 2 s (VSOCK_DEFAULT_CONNECT_TIMEOUT); this is for the rest. */
const DIAL_MS = 10_000;

/** One connect that the main thread has asked for. */
export class BridgeDial extends StreamDial {
  private readonly done: (fd: number, errno: number) => void;

  /** @param done called once unless it is cancelled: a connected descriptor that nobody watches, or -1 and the errno */
  constructor(reactor: Reactor, sockaddr: Buffer, done: (fd: number, errno: number) => void) {
    super(reactor, { sockaddr, kind: BRIDGED_VSOCK, withinMs: DIAL_MS });
    this.done = done;
  }

  start(): void {
    this.begin();
  }

  cancel(): void {
    this.closeFd();
  }

  protected override connected(): void {
    const fd = this.takeFd();
    this.reactor.unwatch(fd);
    this.done(fd, 0);
  }

  protected override failed(errno: number): void {
    this.closeFd();
    this.done(-1, errno);
  }
}
