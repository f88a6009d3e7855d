import { ERRNO } from '../../../errors.ts';
import { EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from '../constants.ts';
import type { Reactor, Task, Watcher } from '../reactor.ts';

/** A write to a virtio-serial port takes no more (drivers/char/virtio_console.c). */
const MAX_BYTES = 32_768;
/** Reads and writes in a row before others get their turn. */
const MAX_TURNS = 16;
const MASK = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
const NOTHING = Buffer.alloc(0);

/**
 * A character device and the end of a pair of unix sockets that stands for it. The device may have nobody at its other
 * end: then reading gives nothing, writing EAGAIN and epoll EPOLLHUP, and what is written meanwhile is dropped, since
 * whoever comes is somebody new. It lasts until the pair's other end is closed, or the device fails.
 */
export class DevicePump implements Task {
  private readonly reactor: Reactor;
  private readonly device: number;
  private readonly near: number;
  private readonly over: () => void;
  private fromDevice: Buffer = NOTHING;
  private fromNear: Buffer = NOTHING;
  private deserted = false;
  closed = false;
  private queued = false;
  private started = false;

  /**
   * @param device non-blocking, not watched; both are closed here
   * @param over called once, when both are closed behind the constructor
   */
  constructor(reactor: Reactor, device: number, near: number, over: () => void) {
    this.reactor = reactor;
    this.device = device;
    this.near = near;
    this.over = over;
    const onDevice: Watcher = {
      ready: (flags) => {
        this.deserted = (flags & EPOLLHUP) !== 0;
        this.run();
      },
    };
    const onNear: Watcher = { ready: () => this.run() };
    if (reactor.watch(device, MASK, onDevice) !== 0 || reactor.watch(near, MASK, onNear) !== 0) this.close();
    this.started = true;
  }

  run(): void {
    this.queued = false;
    for (let turn = 0; turn < MAX_TURNS; turn++) {
      if (this.closed) return;
      const moved = [this.deliver(), this.collect()];
      if (!moved.includes(true)) return;
    }
    if (this.queued || this.closed) return;
    this.queued = true;
    this.reactor.later(this);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.reactor.close(this.device);
    this.reactor.close(this.near);
    if (this.started) this.over();
  }

  /** From the device to the pair. @returns whether something moved */
  private deliver(): boolean {
    if (this.fromDevice.length === 0) {
      this.fromDevice = this.read(this.device, (errno) => errno === ERRNO.EIO); // a pty that nobody has open
      if (this.fromDevice.length === 0) return false;
    }
    const before = this.fromDevice.length;
    this.fromDevice = this.write(this.near, this.fromDevice);
    return this.fromDevice.length < before;
  }

  /** From the pair to the device. @returns whether something moved */
  private collect(): boolean {
    if (this.fromNear.length === 0) {
      if (this.closed) return false;
      this.fromNear = this.read(
        this.near,
        () => false,
        () => this.close(),
      );
      if (this.fromNear.length === 0) return false;
    }
    if (this.deserted) {
      this.fromNear = NOTHING;
      return true;
    }
    const before = this.fromNear.length;
    this.fromNear = this.write(this.device, this.fromNear);
    return this.fromNear.length < before;
  }

  /** @returns what was read; nothing when there is nothing now */
  private read(fd: number, passes: (errno: number) => boolean, ended: () => void = () => {}): Buffer {
    const { libc, buffer } = this.reactor;
    const count = libc.read(fd, buffer.address, MAX_BYTES);
    if (count > 0) return Buffer.from(buffer.bytes.subarray(0, count));
    if (count === 0) ended();
    else {
      const errno = libc.errno();
      if (errno !== ERRNO.EAGAIN && errno !== ERRNO.EINTR && !passes(errno)) this.close();
    }
    return NOTHING;
  }

  /** @returns what is left to be written */
  private write(fd: number, bytes: Buffer): Buffer {
    if (this.closed) return NOTHING;
    const { libc, buffer } = this.reactor;
    bytes.copy(buffer.bytes);
    const count = libc.write(fd, buffer.address, Math.min(bytes.length, MAX_BYTES));
    if (count >= 0) return bytes.subarray(count);
    const errno = libc.errno();
    if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return bytes;
    if (errno === ERRNO.EIO && fd === this.device) return NOTHING;
    this.close();
    return NOTHING;
  }
}
