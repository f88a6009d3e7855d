/** A unix socket between a host agent that dials and its VM shim, at which the link can be cut while streams live on. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** First byte of a dedicated stream's preface (docs/protocol.md). */
const STREAM = 0x50;

interface Joined {
  readonly ends: readonly [Socket, Socket];
  /** Undefined before the first byte. */
  stream: boolean | undefined;
}

export class LinkWire {
  private readonly joined = new Set<Joined>();
  private readonly path: string;
  private readonly target: string;
  private server: Server | undefined;

  /**
   * @param path where the host agent dials
   * @param target where the shim listens
   */
  constructor(path: string, target: string) {
    this.path = path;
    this.target = target;
  }

  /** Takes connections from now on. */
  async mend(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (near) => this.join(near));
    server.listen(this.path);
    await once(server, 'listening');
    this.server = server;
  }

  /** Lets nobody connect; the link and streams that run are left alone. */
  shut(): void {
    this.server?.close();
    rmSync(this.path, { force: true });
  }

  /** Ends the link and lets nobody connect; streams that run are left alone. */
  cut(): void {
    this.shut();
    for (const { ends, stream } of this.joined) if (stream !== true) for (const end of ends) end.destroy();
  }

  /** Dedicated streams that run now. */
  get streams(): number {
    return [...this.joined].filter(({ stream }) => stream === true).length;
  }

  /** Ends everything. */
  close(): void {
    this.cut();
    for (const { ends } of this.joined) for (const end of ends) end.destroy();
  }

  private join(near: Socket): void {
    const far = connect({ path: this.target, allowHalfOpen: true });
    const joined: Joined = { ends: [near, far], stream: undefined };
    this.joined.add(joined);
    near.once('data', (bytes: Buffer) => {
      joined.stream ??= bytes[0] === STREAM;
    });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('error', () => {}); // 'close' follows
      from.on('close', () => {
        to.destroy();
        this.joined.delete(joined);
      });
      from.pipe(to);
    }
  }
}
