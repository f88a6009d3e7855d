/**
 * Drives 9P sessions over Node streams. Reading stops while the session is busy or the client does not take its replies,
 * so one connection holds at most one chunk of input, one reply more than its stream has room for, and those of what it waits
 * for. Whatever clients send can end their own connections only, and takes half of the thread at the most.
 */
import type { Duplex } from 'node:stream';
import { BridgeError, messageOf } from '../errors.ts';
import { Limit } from '../limit.ts';
import type { Logger } from '../logger.ts';
import { SparseWarnings } from '../sparse-warnings.ts';
import { Turns } from '../turns.ts';
import { Channel } from './channel.ts';
import type { FileSystem } from './filesystem.ts';
import { Session } from './session.ts';
import { MAX_MSIZE } from './version.ts';

/** A kernel mount is one connection and `portferry claim` another; more at once than this is a fault. */
const MAX_CONNECTIONS = 256;
/** A mount holds three fids for each forward (opened ctl, ctl, directory): room for 4096 forwards and the rest. */
const MAX_FIDS = 16_384;
/** Of all connections: two such mounts. */
const MAX_ALL_FIDS = 2 * MAX_FIDS;
/** Bytes of replies that a client does not read. It is asked no more long before; these are of what it waited for. */
const MAX_UNREAD = 256 * 1024;
const MAX_OUTSTANDING = 128;

export interface P9ServerOptions {
  readonly log: Logger;
  readonly maxConnections?: number;
  /** per connection */
  readonly maxFids?: number;
  /** of all connections */
  readonly maxAllFids?: number;
  /** per connection; beyond it the connection is not read until some are answered */
  readonly maxOutstanding?: number;
  readonly maxMsize?: number;
}

export class P9Server {
  /** Connections in use and refused. */
  readonly connections: Limit;
  /** Fids of all connections. */
  private readonly fids: Limit;
  /** Only counts who is disconnected by it. */
  private readonly unread: Limit;
  private readonly options: Required<P9ServerOptions>;
  private readonly warnings: SparseWarnings;
  private readonly served = new Map<Duplex, Promise<void>>();
  /** Of all connections, each with one frame at most: who has many connections gets no more of the thread. */
  private readonly turns = new Turns<() => void>(
    (receive) => receive(),
    (error) => this.options.log.error({ err: error }, `9P turn failed: ${messageOf(error)}`),
  );
  private closed = false;

  constructor(options: P9ServerOptions) {
    this.options = {
      log: options.log,
      maxConnections: options.maxConnections ?? MAX_CONNECTIONS,
      maxFids: options.maxFids ?? MAX_FIDS,
      maxAllFids: options.maxAllFids ?? MAX_ALL_FIDS,
      maxOutstanding: options.maxOutstanding ?? MAX_OUTSTANDING,
      maxMsize: options.maxMsize ?? MAX_MSIZE,
    };
    const { maxConnections, maxAllFids, log } = this.options;
    this.warnings = new SparseWarnings(log);
    this.connections = new Limit('9P connections', maxConnections, this.warnings);
    this.fids = new Limit('fids of all 9P connections', maxAllFids, this.warnings);
    this.unread = new Limit('bytes of replies that a 9P client does not read', MAX_UNREAD, this.warnings);
  }

  /**
   * Serves one connection, which becomes the server's own. Resolves, never rejects, when it is over and all its requests
   * and fids are gone.
   * @param filesystem what this connection sees
   */
  serve(stream: Duplex, filesystem: FileSystem): Promise<void> {
    stream.on('error', (error) => this.options.log.debug(`9P connection: ${messageOf(error)}`));
    if (this.closed || !this.connections.take()) {
      stream.destroy();
      return Promise.resolve();
    }
    const served = this.run(stream, filesystem).finally(() => {
      this.connections.give();
      this.served.delete(stream);
    });
    this.served.set(stream, served);
    return served;
  }

  /** Ends all connections and takes no more. */
  async close(): Promise<void> {
    this.closed = true;
    const all = [...this.served.values()];
    for (const stream of this.served.keys()) stream.destroy();
    await Promise.all(all);
  }

  /** Gives a session one frame when it is its turn. Rejects with what the session throws. */
  private deal(stream: Duplex, session: Session, frame: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const receive = () => {
        try {
          if (!stream.destroyed) session.receive(frame);
        } catch (error) {
          reject(error);
        }
      };
      this.turns.take(receive, resolve);
    });
  }

  private send(stream: Duplex, frame: Uint8Array): void {
    if (!stream.writable) return;
    stream.write(frame);
    if (stream.writableLength <= this.unread.max) return;
    this.unread.refuse();
    stream.destroy();
  }

  private async run(stream: Duplex, filesystem: FileSystem): Promise<void> {
    const { log } = this.options;
    let wake = () => {};
    const session = new Session({
      filesystem,
      allFids: this.fids,
      warnings: this.warnings,
      send: (frame) => this.send(stream, frame),
      onSettled: () => wake(),
      ...this.options,
    });
    stream.on('drain', () => wake());
    stream.on('close', () => wake());
    const held = () => !stream.destroyed && (session.busy || stream.writableNeedDrain);
    try {
      const channel = new Channel(session.msize);
      for await (const chunk of stream) {
        channel.push(chunk as Uint8Array);
        for (;;) {
          while (held()) {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
          if (stream.destroyed) break;
          channel.msize = session.msize;
          const frame = channel.next();
          if (frame === undefined) break;
          await this.deal(stream, session, frame);
        }
      }
    } catch (error) {
      if (error instanceof BridgeError)
        this.warnings.warn({ code: error.code }, `9P connection closed: ${error.message}`);
      else log.debug(`9P connection lost: ${messageOf(error)}`);
    }
    stream.destroy();
    await session.close();
  }
}
