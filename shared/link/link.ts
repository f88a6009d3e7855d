/**
 * One negotiated session between a host agent and a VM shim over one transport stream: handshake and hello
 * both ways, then the mux, then `start`/`started`, by which the host hands over the key of this link's
 * dedicated streams. A peer whose handshake carries no hello is a vpnkit; it is let in only where
 * `legacyPeer` says so, and then we stay strictly inside vpnkit's protocol.
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import {
  type ControlMessage,
  decodeControl,
  decodeHello,
  encodeControl,
  encodeHello,
  FEATURES,
  type Feature,
  type Hello,
  LINK_VERSION,
} from '../control-codec.ts';
import { BridgeError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Channel } from '../mux/channel.ts';
import { MuxDriver } from '../mux/driver.ts';
import { MuxSession } from '../mux/session.ts';
import { LEGACY_WINDOW_SIZES, WINDOW_SIZES } from '../mux/window.ts';
import { STREAM_KEY_BYTES } from '../preface.ts';
import { VERSION } from '../version.ts';
import { decodeHandshake, encodeHandshake, MAX_HANDSHAKE_BYTES } from './handshake.ts';
import { readHead } from './read-head.ts';

/** How long each step of setting up a link may take, milliseconds. */
const STEP_MS = 10_000;
/** Most channels on one link. */
export const MAX_CHANNELS = 4_096;

/** Who we are, the same on every link of this process. */
export class LinkIdentity {
  readonly role: 'host' | 'shim';
  readonly instance = randomBytes(16).toString('hex');
  private epoch = 0;

  constructor(role: 'host' | 'shim') {
    this.role = role;
  }

  /** The hello of the next link. */
  nextHello(): Hello {
    return {
      version: LINK_VERSION,
      implementation: `portferry ${VERSION}`,
      role: this.role,
      instance: this.instance,
      epoch: this.epoch++,
      features: FEATURES,
    };
  }
}

export interface LinkOptions {
  readonly identity: LinkIdentity;
  /** Whether we dialled the transport; that side counts channel ids down. */
  readonly dialled: boolean;
  readonly legacyPeer: boolean;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** The peer opened a channel. */
  readonly onChannel: (channel: Channel, link: Link) => void;
  /** Shim: the key of this link's dedicated streams has come; the host is told behind this. */
  readonly onStreamKey?: (link: Link) => void;
  /** The peer aborts one of its or our dedicated streams. */
  readonly onStreamReset: (streamId: number, errno: number, link: Link) => void;
}

export class Link {
  /** What the peer said of itself; undefined for a vpnkit peer. */
  readonly peer: Hello | undefined;
  readonly session: MuxSession;
  /** Resolves with the reason when the link is over. */
  readonly closed: Promise<BridgeError>;
  /** Ties dedicated streams to this link; empty towards a vpnkit peer. */
  streamKey: Buffer = Buffer.alloc(0);
  private readonly features: ReadonlySet<string>;
  private readonly driver: MuxDriver;
  private readonly onStreamKey: ((link: Link) => void) | undefined;
  private readonly inbox: ControlMessage[] = [];
  private reader: ((message: ControlMessage) => void) | undefined;

  constructor(stream: Duplex, peer: Hello | undefined, options: LinkOptions) {
    this.peer = peer;
    this.onStreamKey = options.onStreamKey;
    this.features = new Set(peer === undefined ? [] : FEATURES.filter((f) => peer.features.includes(f)));
    const { promise, resolve } = deferred<BridgeError>();
    this.closed = promise;
    this.driver = new MuxDriver(stream, (error) => {
      if (error.code === 'PROTOCOL') {
        const lately = this.session.dump();
        options.log.error({ lately }, `link ended: the peer broke the protocol: ${error.message}`);
      }
      resolve(error);
    });
    this.session = new MuxSession(
      {
        ids: options.dialled ? 'down' : 'up',
        extensions: {
          dialResults: this.has('dial-result'),
          resets: this.has('reset'),
          control: this.has('control'),
          dedicated: this.has('dedicated'),
        },
        windows: peer === undefined ? LEGACY_WINDOW_SIZES : WINDOW_SIZES,
        maxChannels: MAX_CHANNELS,
      },
      {
        open: (channel) => options.onChannel(channel, this),
        control: (payload) => this.take(decodeControl(payload)),
        streamReset: (streamId, errno) => options.onStreamReset(streamId, errno, this),
        writable: () => this.driver.schedule(),
      },
    );
    this.driver.start(this.session);
  }

  has(feature: Feature): boolean {
    return this.features.has(feature);
  }

  /** Says that we abort a dedicated stream. */
  sendStreamReset(streamId: number, errno: number): void {
    this.session.sendStreamReset(streamId, errno);
  }

  /** Ends the link; every channel on it is reset. */
  close(reason = new BridgeError('LINK_LOST', 'we closed the link')): void {
    this.driver.stop(reason);
  }

  /** Host: hands over the stream key and waits until the shim has it. */
  async start(): Promise<void> {
    this.streamKey = randomBytes(STREAM_KEY_BYTES);
    this.session.sendControl(encodeControl({ type: 'start', streamKey: this.streamKey }));
    const answer = await this.nextMessage();
    if (answer.type !== 'started')
      throw new BridgeError('PROTOCOL', `the shim answered "start" with "${answer.type}"`);
  }

  /** Shim: waits for the host's `start`. */
  async awaitStart(): Promise<void> {
    const message = await this.nextMessage();
    if (message.type !== 'start')
      throw new BridgeError('PROTOCOL', `the host began with "${message.type}" instead of "start"`);
    this.streamKey = message.streamKey;
    this.onStreamKey?.(this);
    this.session.sendControl(encodeControl({ type: 'started' }));
  }

  private take(message: ControlMessage): void {
    if (this.reader !== undefined) this.reader(message);
    else if (this.inbox.length < 4) this.inbox.push(message);
    else throw new BridgeError('PROTOCOL', 'control messages that nobody asked for');
  }

  private async nextMessage(): Promise<ControlMessage> {
    const queued = this.inbox.shift();
    if (queued !== undefined) return queued;
    const { promise, resolve, reject } = deferred<ControlMessage>();
    this.reader = resolve;
    const timer = setTimeout(
      () => reject(new BridgeError('TIMEOUT', `the peer was silent for ${STEP_MS / 1000} s after its hello`)),
      STEP_MS,
    );
    void this.closed.then(reject);
    try {
      return await promise;
    } finally {
      this.reader = undefined;
      clearTimeout(timer);
    }
  }
}

/**
 * Sets a link up on a fresh stream. On failure the stream is destroyed.
 * @throws BridgeError PROTOCOL (another protocol or version, no hello, wrong role), TIMEOUT, LINK_LOST, CANCELLED
 */
export async function establishLink(stream: Duplex, options: LinkOptions): Promise<Link> {
  let link: Link | undefined;
  try {
    stream.write(encodeHandshake(encodeHello(options.identity.nextHello())));
    const payload = await readHead(stream, decodeHandshake, {
      what: 'handshake',
      maxBytes: MAX_HANDSHAKE_BYTES,
      timeoutMs: STEP_MS,
      signal: options.signal,
    });
    const peer = payload.length === 0 ? undefined : decodeHello(payload);
    checkPeer(peer, options);
    link = new Link(stream, peer, options);
    if (link.has('control')) await (options.identity.role === 'host' ? link.start() : link.awaitStart());
    return link;
  } catch (error) {
    link?.close();
    stream.destroy();
    throw error;
  }
}

function checkPeer(peer: Hello | undefined, options: LinkOptions): void {
  if (peer === undefined && !options.legacyPeer)
    throw new BridgeError(
      'PROTOCOL',
      'the peer sent no hello: it is a vpnkit, or no portferry; --legacy-peer lets it in',
    );
  if (peer !== undefined && peer.role === options.identity.role)
    throw new BridgeError(
      'PROTOCOL',
      `both sides are a ${peer.role === 'host' ? 'host agent' : 'VM shim'}: check the URLs`,
    );
}

function deferred<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
