/** The spare streams of a link as descriptors that workers take; the counterpart of SocketShelf. */
import type { Socket } from 'node:net';
import { adoptSocket } from '../../../shared/platform/linux/adopt-socket.ts';
import type { Libc } from '../../../shared/platform/linux/libc.ts';
import { takeSocket } from '../../../shared/platform/linux/mux/take-socket.ts';
import type { Sockets } from '../../../shared/platform/linux/sockets.ts';
import type { SpareShelf } from '../spare-shelf.ts';
import type { SparePath } from './orders.ts';
import type { SpareCells } from './spare-cells.ts';

export interface DescriptorShelfOptions {
  readonly libc: Libc;
  readonly sockets: Sockets;
  readonly cells: SpareCells;
  /** Of the path that they are for. */
  readonly number: number;
  /** They are TCP, not unix sockets. */
  readonly tcp: boolean;
  /** Gives a descriptor to a worker where clients wait. @returns whether that worker lives */
  readonly give: (worker: number, fd: number) => boolean;
  /** Tells the workers that nothing comes any more. */
  readonly over: () => void;
}

export class DescriptorShelf implements SpareShelf {
  onReady = (): void => {};
  onShort = (): void => {};
  readonly cells: SpareCells;
  private readonly options: DescriptorShelfOptions;

  constructor(options: DescriptorShelfOptions) {
    this.options = options;
    this.cells = options.cells;
  }

  get number(): number {
    return this.options.number;
  }

  /** What workers are told of it. */
  get path(): SparePath {
    return { spares: this.cells.cells, tcp: this.options.tcp };
  }

  get waiting(): number {
    return this.cells.waiting;
  }

  put(stream: Socket): void {
    stream.setNoDelay(true);
    takeSocket(this.options.libc, stream).then(
      ({ fd, early }) => {
        // Nothing is to be said before the preface.
        if (early.length > 0) this.options.libc.close(fd);
        else this.offer(fd);
      },
      () => stream.destroy(),
    );
  }

  take(): Socket | undefined {
    const fd = this.takeDescriptor();
    return fd < 0 ? undefined : adoptSocket(fd);
  }

  /** A descriptor for whoever needs it most: a worker gave it back, or it has just come. */
  offer(fd: number): void {
    const { cells, options } = this;
    let next = fd;
    while (next >= 0) {
      const worker = cells.neediest;
      if (worker >= 0) {
        cells.leave(worker);
        if (options.give(worker, next)) return;
        cells.forget(worker);
      } else {
        if (cells.push(next)) this.onReady();
        else options.libc.close(next);
        if (cells.neediest < 0) return;
        next = cells.pop();
      }
    }
  }

  tidy(keep: number): void {
    const living: number[] = [];
    for (let fd = this.takeDescriptor(); fd >= 0; fd = this.takeDescriptor()) living.push(fd);
    for (const fd of living.splice(keep)) this.options.libc.close(fd);
    for (const fd of living) this.offer(fd);
  }

  close(): void {
    const { cells, options } = this;
    cells.close();
    for (let fd = cells.pop(); fd >= 0; fd = cells.pop()) options.libc.close(fd);
    options.over();
  }

  private takeDescriptor(): number {
    const { cells, options } = this;
    for (;;) {
      const fd = cells.pop();
      if (fd < 0 || options.sockets.isSilent(fd)) return fd;
      options.libc.close(fd);
    }
  }
}
