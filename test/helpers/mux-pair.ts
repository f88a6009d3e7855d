import type { Channel, ChannelHandler } from '../../shared/mux/channel.ts';
import { type MuxExtensions, MuxSession, type SessionOptions } from '../../shared/mux/session.ts';
import { WINDOW_SIZES } from '../../shared/mux/window.ts';

export const ALL_EXTENSIONS: MuxExtensions = {
  dialResults: true,
  resets: true,
  control: true,
  dedicated: true,
  pings: true,
  details: true,
};
export const NO_EXTENSIONS: MuxExtensions = {
  dialResults: false,
  resets: false,
  control: false,
  dedicated: false,
  pings: false,
  details: false,
};

/** Records what a channel says. With `consume` it reads at once; else `held` counts what it has not read. */
export class ChannelProbe implements ChannelHandler {
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  held = 0;
  channel: Channel | undefined;
  consume: boolean;

  constructor(consume = true) {
    this.consume = consume;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  dialResult(errno: number): void {
    this.events.push(`dial ${errno}`);
  }

  data(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk));
    if (this.consume) this.channel?.consumed(chunk.length);
    else this.held += chunk.length;
  }

  /** Reads what is held. */
  read(): void {
    const bytes = this.held;
    this.held = 0;
    this.channel?.consumed(bytes);
  }

  end(): void {
    this.events.push('end');
  }

  reset(errno: number): void {
    this.events.push(`reset ${errno}`);
  }

  drain(): void {
    this.events.push('drain');
  }

  flushed(): void {
    this.events.push('flushed');
  }

  closed(): void {
    this.events.push('closed');
  }
}

/** Two sessions joined by memory. `accepted` gets the probe of every channel that `a` opens. */
export class MuxPair {
  readonly a: MuxSession;
  readonly b: MuxSession;
  readonly accepted: ChannelProbe[] = [];
  readonly controls: Buffer[] = [];
  /** Answers to the pings of `a`. */
  readonly pongs: number[] = [];
  readonly streamResets: Array<[number, number]> = [];
  /** What `b` does with a channel: accept it, refuse it with an errno, or leave it unanswered. */
  onOpen: 'accept' | 'ignore' | number = 'accept';
  consume = true;

  constructor(extensions = ALL_EXTENSIONS, options: Partial<SessionOptions> = {}) {
    const common = { extensions, windows: WINDOW_SIZES, maxChannels: 100, ...options };
    const silent = { open() {}, control() {}, streamReset() {}, writable() {} };
    const pong = (number: number): void => void this.pongs.push(number);
    this.a = new MuxSession({ ...common, ids: 'down' }, { ...silent, pong });
    this.b = new MuxSession(
      { ...common, ids: 'up' },
      {
        open: (channel) => this.accept(channel),
        control: (payload) => this.controls.push(Buffer.from(payload)),
        streamReset: (id, errno) => this.streamResets.push([id, errno]),
        writable() {},
      },
    );
  }

  open(consume = true): ChannelProbe & { channel: Channel } {
    const probe = new ChannelProbe(consume);
    probe.channel = this.a.open({ protocol: 'tcp', ip: '10.0.0.1', port: 80 }, probe);
    return probe as ChannelProbe & { channel: Channel };
  }

  /** Carries bytes both ways until neither side has output. */
  run(maxBytes = 64 * 1024): void {
    while (this.a.hasOutput || this.b.hasOutput) this.turn(maxBytes);
  }

  /** One batch each way. */
  turn(maxBytes: number): void {
    for (const buffer of this.a.take(maxBytes)) this.b.receive(buffer);
    for (const buffer of this.b.take(maxBytes)) this.a.receive(buffer);
  }

  private accept(channel: Channel): void {
    const probe = new ChannelProbe(this.consume);
    probe.channel = channel;
    channel.handler = probe;
    this.accepted.push(probe);
    if (this.onOpen === 'accept') channel.accept();
    else if (this.onOpen !== 'ignore') channel.refuse(this.onOpen);
  }
}
