import { ERRNO, errnoName } from '../../../shared/errors.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import { StreamDial } from '../../../shared/platform/linux/stream-dial.ts';
import type { Target } from './target-cache.ts';

export interface ContainerDialOwner {
  /**
   * The descriptor is the owner's, and watched.
   * @param flags what epoll has said of it and nobody has acted on
   */
  dialled(fd: number, flags: number): void;
  dialFailed(errno: number, why: string): void;
  /** Descriptors or memory have run out; it is tried again. */
  exhausted(errno: number): void;
}

/** The dial of a container for a channel; the counterpart of shared/transport/dial-destination.ts. */
export class ContainerDial extends StreamDial {
  private readonly container: Target;
  private readonly owner: ContainerDialOwner;

  constructor(reactor: Reactor, container: Target, owner: ContainerDialOwner) {
    super(reactor, container);
    this.container = container;
    this.owner = owner;
  }

  start(): void {
    if (this.container.sockaddr.length === 0) this.failed(ERRNO.ENAMETOOLONG, 'address');
    else this.begin();
  }

  /** Gives up; nothing is said any more. May be called again, and after it is over. */
  cancel(): void {
    // The kernel may have connected it already: its container must not take the close for an end.
    if (this.fd >= 0 && this.container.kind.tcp) this.reactor.sockets.resetOnClose(this.fd);
    this.closeFd();
  }

  protected override connected(flags: number): void {
    const { keepalive } = this.container;
    if (keepalive !== undefined) this.reactor.sockets.keepAlive(this.fd, keepalive);
    this.owner.dialled(this.takeFd(), flags);
  }

  protected override exhausted(errno: number): void {
    this.owner.exhausted(errno);
  }

  protected override failed(errno: number, what: string): void {
    this.cancel();
    this.owner.dialFailed(errno, `cannot dial ${this.container.what}: ${what}: ${errnoName(errno)}`);
  }
}
