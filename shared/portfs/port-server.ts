import type { Duplex } from 'node:stream';
import type { Limit } from '../limit.ts';
import type { Logger } from '../logger.ts';
import { P9Server } from '../p9/server.ts';
import type { PortDoor } from './door.ts';
import { PortTree } from './tree.ts';

export interface PortServerOptions {
  readonly log: Logger;
  readonly maxConnections?: number;
  readonly maxEntries?: number;
  /** How long an entry whose ctl is not open waits for a request before it goes away; 10 s. */
  readonly idleMs?: number;
  /** Within this time every read and write of ctl is answered; 10 s. */
  readonly answerMs?: number;
}

/** /port over 9P: one tree for all its connections, whatever carries them. */
export class PortServer {
  private readonly tree: PortTree;
  private readonly server: P9Server;

  constructor(options: PortServerOptions) {
    this.tree = new PortTree(options);
    this.server = new P9Server(options);
  }

  /** Connections in use and refused. */
  get connections(): Limit {
    return this.server.connections;
  }

  /** Entries in use and refused. */
  get entries(): Limit {
    return this.tree.entries;
  }

  /**
   * Serves one connection, which becomes the server's own. Resolves, never rejects, when it is over and the claims made
   * over it are released.
   * @param door where the requests of this connection go
   */
  serve(stream: Duplex, door: PortDoor): Promise<void> {
    return this.server.serve(stream, this.tree.filesystem(door));
  }

  /** Ends all connections, then releases every claim that is left. */
  async close(): Promise<void> {
    await this.server.close();
    await this.tree.close();
  }
}
