import { Duplex } from 'node:stream';
import { BridgeError, messageOf } from '../errors.ts';
import { SerialSession } from './serial-session.ts';

export interface SerialTimes {
  /** How often a hello is repeated, milliseconds. */
  readonly helloMs: number;
  /** How often we show that we are alive. */
  readonly beatMs: number;
  /** How long the peer may be silent. */
  readonly deadMs: number;
}

export const SERIAL_TIMES: SerialTimes = { helloMs: 250, beatMs: 2_000, deadMs: 10_000 };

/** One session over a serial port as a stream. When it is destroyed, what it has read and not used is `rest`. */
export class SerialStream extends Duplex {
  private readonly port: Duplex;
  private readonly times: SerialTimes;
  private readonly session: SerialSession;
  private readonly begun: () => void;
  private timer: NodeJS.Timeout | undefined;
  /** Beats of ours since we have heard the peer: not a time, so that a suspended machine is not a silent peer. */
  private silence = 0;
  private readonly onData = (chunk: Buffer) => this.receive(chunk);
  private readonly onLost = (error?: Error) =>
    this.destroy(
      new BridgeError('LINK_LOST', `the serial port was lost${error ? `: ${messageOf(error)}` : ''}`),
    );

  /**
   * @param port carries the bytes; it is not closed here
   * @param rest of the session before
   * @param begun called once, when the peer is there
   */
  constructor(port: Duplex, rest: Buffer, begun: () => void, times: SerialTimes = SERIAL_TIMES) {
    super({ allowHalfOpen: true });
    this.port = port;
    this.times = times;
    this.begun = begun;
    this.session = new SerialSession({
      send: (bytes) => void port.write(bytes),
      opened: () => this.opened(),
      data: (payload) => {
        if (!this.push(payload)) port.pause();
      },
      over: (reason) => this.destroy(reason),
    });
    this.on('error', () => {}); // for those that nobody listens to any more
    port.on('data', this.onData).on('end', this.onLost).on('close', this.onLost).on('error', this.onLost);
    this.timer = setInterval(() => {
      if (port.writableLength === 0) this.session.hello();
    }, times.helloMs);
    queueMicrotask(() => {
      this.session.begin();
      if (rest.length > 0) this.receive(rest);
      port.resume();
    });
  }

  get rest(): Buffer {
    return this.session.rest;
  }

  override _read(): void {
    if (!this.port.isPaused()) return;
    this.silence = 0; // while we did not listen nobody was silent
    this.port.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.writeAll([{ chunk }], done);
  }

  override _writev(chunks: Array<{ chunk: Buffer }>, done: () => void): void {
    this.writeAll(chunks, done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { port } = this;
    clearInterval(this.timer);
    port.off('data', this.onData).off('end', this.onLost).off('close', this.onLost).off('error', this.onLost);
    port.pause();
    if (!port.destroyed) this.session.end();
    done(error);
  }

  private writeAll(chunks: Array<{ chunk: Buffer }>, done: () => void): void {
    const { port } = this;
    port.cork();
    for (const { chunk } of chunks) this.session.write(chunk);
    port.uncork();
    if (!port.writableNeedDrain || port.destroyed) return done();
    const settled = (): void => {
      port.off('drain', settled).off('close', settled);
      done();
    };
    port.on('drain', settled).on('close', settled);
  }

  private receive(chunk: Buffer): void {
    if (this.destroyed) return;
    if (this.session.receive(chunk)) this.silence = 0;
  }

  private opened(): void {
    const { port, session, times } = this;
    clearInterval(this.timer);
    this.timer = setInterval(() => {
      if (port.writableLength === 0) session.beat();
      if (!port.isPaused() && ++this.silence * times.beatMs > times.deadMs)
        session.fail(`the other side of the serial port was silent for ${times.deadMs / 1000} s`);
    }, times.beatMs);
    this.begun();
  }
}
