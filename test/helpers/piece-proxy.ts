/**
 * A proxy between two programs on unix sockets that shows each piece to whoever watches and can stop there, before, within
 * or behind it. Half-closes and aborts are passed on as what they are.
 */
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Cutter } from './wire-pieces.ts';

export interface Seen {
  /** `up` is from whoever dials to whoever listens. */
  readonly direction: 'up' | 'down';
  /** As the cutter names it; `end` for the end of a direction. */
  readonly kind: string;
  /** The first piece of this stream: what the stream is. */
  readonly opening: string;
}

/** What to do at a piece: pass some of it, and hold its stream until `act` is done. */
export interface Stop {
  readonly part: 'before' | 'half' | 'after';
  act(): Promise<void>;
}

export type Watch = (seen: Seen) => Stop | undefined;

export interface PieceProxyOptions {
  readonly listen: string;
  readonly target: string;
  readonly cutter: (direction: 'up' | 'down') => Cutter;
  readonly watch: Watch;
}

/** How often a direction that has ended is asked whether its other one still stands, milliseconds. */
const PROBE_MS = 20;
const NOTHING = Buffer.alloc(0);

export class PieceProxy {
  private readonly options: PieceProxyOptions;
  private readonly server: Server;
  private readonly joints = new Set<Joint>();

  private constructor(options: PieceProxyOptions) {
    this.options = options;
    this.server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.join(client));
  }

  static async start(options: PieceProxyOptions): Promise<PieceProxy> {
    const proxy = new PieceProxy(options);
    await new Promise<void>((resolve, reject) => {
      proxy.server.once('error', reject);
      proxy.server.listen({ path: options.listen, backlog: 2_048 }, () => resolve());
    });
    return proxy;
  }

  /** Streams that are joined now. */
  get size(): number {
    return this.joints.size;
  }

  /** Breaks streams: all, or those that began with a certain piece. @returns how many */
  cut(opening?: string): number {
    const doomed = [...this.joints].filter((joint) => opening === undefined || joint.opening === opening);
    for (const joint of doomed) joint.destroy();
    return doomed.length;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.cut();
    await closed;
    rmSync(this.options.listen, { force: true });
  }

  private join(client: Socket): void {
    const server = connect({ path: this.options.target, allowHalfOpen: true });
    const joint = new Joint(client, server, this.options);
    this.joints.add(joint);
    joint.over.then(() => this.joints.delete(joint));
    // Nobody listens there: whoever dialled us is told so as the real place would, by a stream that breaks at once.
    server.once('error', () => client.destroy());
    server.once('connect', () => joint.start());
  }
}

/** Two sockets and what passes between them. */
class Joint {
  opening = '';
  readonly over: Promise<unknown>;
  private readonly sockets: readonly [Socket, Socket];
  private readonly options: PieceProxyOptions;

  constructor(client: Socket, server: Socket, options: PieceProxyOptions) {
    this.sockets = [client, server];
    this.options = options;
    for (const socket of this.sockets) socket.on('error', () => {});
    this.over = Promise.all(
      this.sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))),
    );
  }

  start(): void {
    const [client, server] = this.sockets;
    this.pump(client, server, 'up');
    this.pump(server, client, 'down');
  }

  destroy(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private pump(from: Socket, to: Socket, direction: 'up' | 'down'): void {
    const cutter = this.options.cutter(direction);
    let last = Promise.resolve();
    let ended = false;
    from.on('data', (chunk: Buffer) => {
      from.pause();
      last = last
        .then(async () => {
          for (const { kind, bytes } of cutter.push(chunk)) await this.pass(to, direction, kind, bytes);
        })
        .then(() => void from.resume());
    });
    from.on('end', () => {
      ended = true;
      const bothEnded = from.writableEnded;
      // Whoever dies closes both directions at once, which has to reach the other side as such, and not as an end first.
      last = last.then(async () => {
        if (!bothEnded && !(await isHalfOpen(from))) return void to.destroy();
        await this.pass(to, direction, 'end', NOTHING);
        to.end();
        this.probe(from);
      });
    });
    from.on('close', () => {
      // Without an end it broke, and so does the other side, behind what came before.
      if (!ended || !from.writableFinished) void last.then(() => to.destroy());
    });
    from.resume();
  }

  /** A unix stream says nothing when its peer closes the other direction too; a write of nothing does (unix(7), EPIPE). */
  private probe(socket: Socket): void {
    const timer = setInterval(() => {
      if (socket.destroyed || !socket.writable) clearInterval(timer);
      else socket.write(NOTHING);
    }, PROBE_MS);
  }

  private async pass(to: Socket, direction: 'up' | 'down', kind: string, bytes: Buffer): Promise<void> {
    if (this.opening === '') this.opening = kind;
    const stop = this.options.watch({ direction, kind, opening: this.opening });
    if (stop === undefined) return write(to, bytes);
    const first = stop.part === 'before' ? 0 : stop.part === 'half' ? bytes.length >> 1 : bytes.length;
    await write(to, bytes.subarray(0, first));
    await stop.act();
    await write(to, bytes.subarray(first));
  }
}

/** Whether a peer that has ended still takes what we send. */
function isHalfOpen(socket: Socket): Promise<boolean> {
  if (!socket.writable) return Promise.resolve(!socket.errored);
  return new Promise((resolve) => {
    socket.once('close', () => resolve(false));
    socket.write(NOTHING, (error) => resolve(error === null || error === undefined));
  });
}

/** Resolves when the socket has taken it, or is gone. */
function write(to: Socket, bytes: Buffer): Promise<void> {
  if (bytes.length === 0 || to.destroyed || !to.writable) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      to.off('close', done);
      resolve();
    };
    to.once('close', done);
    to.write(bytes, done);
  });
}
