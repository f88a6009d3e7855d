/** Closed-loop HTTP requests: one is outstanding on each connection. */
import { median } from '../../helpers/median.ts';
import type { Connection, ConnectionHandler, Network } from './network.ts';
import { runUntil } from './run-until.ts';
import { ANSWER, LAST_ANSWER, LAST_REQUEST, REQUEST } from './words.ts';

export interface RequestOptions {
  readonly port: number;
  readonly connections: number;
  /** Whether a connection has one request after the other, or a new connection is made for each. */
  readonly keepAlive: boolean;
  readonly seconds: number;
}

/** A new connection's latency is from connect to the answer; it counts when the backend's end of it has come too. */
export class RequestLoad {
  private readonly network: Network;
  private readonly options: RequestOptions;
  private readonly latencies: number[] = [];
  private readonly open = new Set<Connection>();
  private running = true;

  constructor(network: Network, options: RequestOptions) {
    this.network = network;
    this.options = options;
  }

  /** @returns requests a second, and the median of latency in microseconds */
  async run(): Promise<{ rate: number; p50: number }> {
    const { network, options, latencies } = this;
    const began = performance.now();
    try {
      await runUntil(network, options.seconds, (stop) => {
        for (let index = 0; index < options.connections; index++) this.start(stop);
        network.after(options.seconds * 1000, () => stop());
      });
    } finally {
      this.running = false;
      for (const connection of this.open) connection.close();
    }
    if (latencies.length === 0) throw new Error('no answer came');
    const seconds = (performance.now() - began) / 1000;
    return { rate: latencies.length / seconds, p50: median(latencies) * 1000 };
  }

  private start(stop: (why: string) => void): void {
    const { options, network, open, latencies } = this;
    const asked = new Asked(
      options.keepAlive,
      (latency) => latencies.push(latency),
      stop,
      (connection) => {
        open.delete(connection);
        connection.close();
        if (this.running) this.start(stop);
      },
    );
    open.add(network.connect(options.port, asked));
  }
}

class Asked implements ConnectionHandler {
  private readonly keepAlive: boolean;
  private readonly answered: (latency: number) => void;
  private readonly stop: (why: string) => void;
  private readonly over: (connection: Connection) => void;
  private readonly expected: number;
  private got = 0;
  private since = performance.now();
  private latency = 0;

  constructor(
    keepAlive: boolean,
    answered: (latency: number) => void,
    stop: (why: string) => void,
    over: (connection: Connection) => void,
  ) {
    this.keepAlive = keepAlive;
    this.expected = keepAlive ? ANSWER.length : LAST_ANSWER.length;
    this.answered = answered;
    this.stop = stop;
    this.over = over;
  }

  opened(connection: Connection): void {
    if (this.keepAlive) this.since = performance.now();
    connection.write(this.keepAlive ? REQUEST : LAST_REQUEST);
  }

  received(connection: Connection, _bytes: Buffer, length: number): void {
    this.got += length;
    if (this.got < this.expected) return;
    if (this.got > this.expected) return this.stop(`${this.got} bytes came, not ${this.expected}`);
    const now = performance.now();
    this.latency = now - this.since;
    if (!this.keepAlive) return;
    this.answered(this.latency);
    this.got = 0;
    this.since = now;
    connection.write(REQUEST);
  }

  ended(connection: Connection): void {
    if (this.keepAlive || this.got !== this.expected) return this.stop('a connection ended too early');
    this.answered(this.latency);
    this.over(connection);
  }

  failed(why: string): void {
    this.stop(`a connection broke: ${why}`);
  }
}

/** How many connections are under way at a time while many are opened. */
const AT_ONCE = 32;
const OPEN_SECONDS = 10;

/** Connections that have had one answer each, and stay. */
export class IdleConnections {
  private readonly network: Network;
  private readonly wanted: number;
  private readonly connections: Connection[] = [];
  private answered = 0;

  constructor(network: Network, wanted: number) {
    this.network = network;
    this.wanted = wanted;
  }

  async open(port: number): Promise<{ open: number }> {
    const { network, connections, wanted } = this;
    await runUntil(network, OPEN_SECONDS, (stop) => {
      const next = () => {
        if (connections.length < wanted) connections.push(network.connect(port, handler(stop)));
      };
      const handler = (stop: (why?: string) => void): ConnectionHandler => {
        let got = 0;
        return {
          opened: (connection) => connection.write(REQUEST),
          received: (_connection, _bytes, length) => {
            got += length;
            if (got < ANSWER.length) return;
            if (++this.answered === wanted) stop();
            else next();
          },
          ended: () => stop('an idle connection ended'),
          failed: (why) => stop(`an idle connection broke: ${why}`),
        };
      };
      for (let index = 0; index < AT_ONCE; index++) next();
    });
    return { open: this.answered };
  }

  close(): void {
    for (const connection of this.connections) connection.close();
  }
}
