import type { Connection, ConnectionHandler, Network } from './network.ts';
import { runUntil } from './run-until.ts';
import { COUNT_BYTES, decodeCount, SINK, SOURCE } from './words.ts';

export interface BulkOptions {
  readonly port: number;
  readonly streams: number;
  /** up: to the backend. down: from it. */
  readonly way: 'up' | 'down';
  readonly seconds: number;
}

/**
 * Streams that go as fast as they can. Up is timed until the backend has counted the last byte. Down is what came in
 * time. Either way sent and received are compared afterwards, byte for byte in number.
 */
export class BulkLoad {
  private readonly network: Network;
  private readonly options: BulkOptions;
  private readonly streams: Stream[] = [];
  private opened = 0;
  private over = 0;
  private began = 0;
  private inTime = 0;

  constructor(network: Network, options: BulkOptions) {
    this.network = network;
    this.options = options;
  }

  /** @returns bytes, and the seconds that they took */
  async run(): Promise<{ bytes: number; seconds: number }> {
    const { network, options, streams } = this;
    let ended = 0;
    try {
      await runUntil(network, options.seconds, (stop) => {
        const allOpen = () => {
          this.began = performance.now();
          for (const stream of streams) stream.begin();
          network.after(options.seconds * 1000, () => {
            this.inTime = streams.reduce((sum, { arrived }) => sum + arrived, 0);
            ended = performance.now();
            for (const stream of streams) stream.end();
          });
        };
        const done = () => {
          if (++this.over < options.streams) return;
          if (options.way === 'up') ended = performance.now();
          stop();
        };
        for (let index = 0; index < options.streams; index++) {
          const stream = new Stream(
            options.way,
            () => ++this.opened === options.streams && allOpen(),
            done,
            stop,
          );
          stream.connection = network.connect(options.port, stream);
          streams.push(stream);
        }
      });
    } finally {
      for (const { connection } of streams) connection.close();
    }
    const sent = streams.reduce((sum, stream) => sum + stream.sent, 0);
    return { bytes: options.way === 'up' ? sent : this.inTime, seconds: (ended - this.began) / 1000 };
  }
}

class Stream implements ConnectionHandler {
  connection!: Connection;
  /** Bytes from the backend. */
  arrived = 0;
  /** Bytes that were taken on the way to it. */
  sent = 0;
  readonly opened: () => void;
  private readonly way: 'up' | 'down';
  private readonly done: () => void;
  private readonly stop: (why: string) => void;
  /** The last bytes that came. */
  private readonly tail = Buffer.alloc(COUNT_BYTES);
  private ending = false;

  constructor(way: 'up' | 'down', opened: () => void, done: () => void, stop: (why: string) => void) {
    this.way = way;
    this.opened = opened;
    this.done = done;
    this.stop = stop;
  }

  begin(): void {
    this.connection.write(this.way === 'up' ? SINK : SOURCE);
    if (this.way === 'up') this.connection.flood();
  }

  end(): void {
    this.ending = true;
    if (this.way === 'up') this.sent = this.connection.stopFlood();
    this.connection.end();
  }

  received(_connection: Connection, bytes: Buffer, length: number): void {
    const { tail } = this;
    this.arrived += length;
    if (length < COUNT_BYTES) tail.copyWithin(0, length);
    bytes.copy(tail, Math.max(0, COUNT_BYTES - length), Math.max(0, length - COUNT_BYTES), length);
  }

  ended(): void {
    if (!this.ending) return this.stop('a stream ended too early');
    const complete = this.way === 'up' ? this.arrived === COUNT_BYTES : this.arrived >= COUNT_BYTES;
    if (!complete) return this.stop(`${this.arrived} bytes of the backend's count came after a half-close`);
    const count = decodeCount(this.tail);
    const said = this.way === 'up' ? this.sent : this.arrived - COUNT_BYTES;
    if (count !== said) return this.stop(`${said} bytes here are ${count} at the backend`);
    this.done();
  }

  failed(why: string): void {
    this.stop(`a stream broke: ${why}`);
  }
}
