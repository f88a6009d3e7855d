/**
 * One negotiated session between a host agent and a VM shim over one transport stream: handshake and hello
 * both ways, where there is a token the proofs of it, then the mux, then `start`/`started`, by which the host hands over the key of this link's
 * dedicated streams. A peer whose handshake carries no hello is a vpnkit; it is let in only where
 * `legacyPeer` says so, and then we stay strictly inside vpnkit's protocol.
 */
import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
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
  NONCE_BYTES,
} from '../control-codec.ts';
import { BridgeError, messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Channel } from '../mux/channel.ts';
import { MuxDriver } from '../mux/driver.ts';
import { MuxSession } from '../mux/session.ts';
import { STREAM_KEY_BYTES } from '../preface.ts';
import type { Lane, LanePeer } from '../transport/choose.ts';
import { VERSION } from '../version.ts';
import { Admission } from './admission.ts';
import { ControlInbox } from './control-inbox.ts';
import { ControlTurns } from './control-turns.ts';
import { decodeHandshake, encodeHandshake, MAX_HANDSHAKE_BYTES } from './handshake.ts';
import { HEARTBEAT_MS } from './heartbeat.ts';
import { Liveness } from './liveness.ts';
import { prove } from './proof.ts';
import { readHead } from './read-head.ts';
import { SessionHeart } from './session-heart.ts';
import {
  type CarriedSession,
  type SessionCarrier,
  type SessionSettings,
  sessionOptions,
} from './session-settings.ts';

/** How long each step of setting up a link may take, milliseconds. */
const STEP_MS = 10_000;
/** Who we are, the same on every link of this process. */
export class LinkIdentity {
  readonly role: 'host' | 'shim';
  readonly instance = randomBytes(16).toString('hex');
  private epoch = 0;

  constructor(role: 'host' | 'shim') {
    this.role = role;
  }

  /** The hello of the next link. @param nonce where there is a token */
  nextHello(nonce?: Buffer): Hello {
    return {
      version: LINK_VERSION,
      implementation: `portferry ${VERSION}`,
      role: this.role,
      instance: this.instance,
      epoch: this.epoch++,
      features: FEATURES,
      ...(nonce === undefined ? {} : { nonce }),
    };
  }
}

export interface LinkOptions {
  readonly identity: LinkIdentity;
  /** Whether we dialled the transport; that side counts channel ids down. */
  readonly dialled: boolean;
  readonly legacyPeer: boolean;
  /** Reads the token that the peer has to have too; without it nobody is asked for one. */
  readonly readToken?: () => Promise<Buffer>;
  /** Who else is on the way to a link here. */
  readonly admission?: Admission;
  /** How often the peer is asked whether it is there, milliseconds. */
  readonly heartbeatMs?: number;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Host: the lane of this link, once the peer has said hello. */
  readonly chooseLane?: (peer: LanePeer) => Lane;
  /** Who carries the sessions of the multiplexed lane, where that is not this thread. */
  readonly carrier?: SessionCarrier;
  /** The peer opened a channel of a session that this thread carries. */
  readonly onChannel: (channel: Channel, link: Link) => void;
  /** Shim: the key of this link's dedicated streams has come; the host is told behind this. */
  readonly onStreamKey?: (link: Link) => void;
  /** Shim, where it dialled: the host wants so many spare streams to be open. */
  readonly onSpares?: (count: number, link: Link) => void;
  /** The peer aborts one of its or our dedicated streams. */
  readonly onStreamReset: (streamId: number, errno: number, link: Link) => void;
}

export class Link {
  /** What the peer said of itself; undefined for a vpnkit peer. */
  readonly peer: Hello | undefined;
  /** Resolves with the reason when the link is over. */
  readonly closed: Promise<BridgeError>;
  /** Ties dedicated streams to this link; empty towards a vpnkit peer. */
  streamKey: Buffer = Buffer.alloc(0);
  /** How the host carries connections; on the shim undefined where the host does not say. */
  lane: Lane | undefined;
  /** How long the peer took to answer when it was asked last, milliseconds; undefined until it has. */
  rttMs: number | undefined;
  private readonly features: ReadonlySet<string>;
  private readonly stream: Duplex;
  private readonly options: LinkOptions;
  private readonly over: (reason: BridgeError) => void;
  private here: { readonly session: MuxSession; readonly driver: MuxDriver } | undefined;
  private elsewhere: CarriedSession | undefined;
  private ended = false;
  private heart: SessionHeart | undefined;
  private readonly liveness = new Liveness((number) => this.session.sendPing(number));
  private ticking: NodeJS.Timeout | undefined;
  private readonly inbox = new ControlInbox();
  private readonly turns = new ControlTurns(
    (payload) => this.hear(decodeControl(payload)),
    (error) => this.close(asBridgeError(error)),
  );

  constructor(stream: Duplex, peer: Hello | undefined, options: LinkOptions) {
    this.stream = stream;
    this.peer = peer;
    this.options = options;
    this.features = new Set(peer === undefined ? [] : FEATURES.filter((f) => peer.features.includes(f)));
    const { promise, resolve } = deferred<BridgeError>();
    this.closed = promise;
    this.over = (reason) => {
      this.ended = true;
      this.liveness.end();
      this.turns.end();
      clearInterval(this.ticking);
      resolve(reason);
    };
  }

  /** The session, where this thread carries it. */
  get session(): MuxSession {
    if (this.here === undefined) throw new BridgeError('LINK_LOST', 'this thread does not carry the link');
    return this.here.session;
  }

  /** The session, where a worker carries it. */
  get carried(): CarriedSession | undefined {
    return this.elsewhere;
  }

  has(feature: Feature): boolean {
    return this.features.has(feature);
  }

  /** What the peer knows, as far as the lane goes. */
  get lanePeer(): LanePeer {
    return { dedicated: this.has('dedicated'), spares: this.has('spare-streams') };
  }

  /** Sends a control message. @throws BridgeError UNSUPPORTED when the peer takes none */
  send(message: ControlMessage): void {
    (this.elsewhere ?? this.session).sendControl(encodeControl(message));
  }

  /**
   * Hands over the control messages that come from now on, and those that came behind `start` and `started`. What the
   * handler throws ends the link.
   */
  receive(handler: (message: ControlMessage) => void): void {
    try {
      this.inbox.handle(handler);
    } catch (error) {
      this.close(asBridgeError(error));
    }
  }

  /** Says that we abort a dedicated stream. */
  sendStreamReset(streamId: number, errno: number): void {
    (this.elsewhere ?? this.session).sendStreamReset(streamId, errno);
  }

  /**
   * Asks the peer whether it is alive now: resolves with true when it has answered, with false when the link is over
   * before; undefined where it cannot be asked, or where another thread carries the session.
   */
  askWhetherAlive(): Promise<boolean> | undefined {
    return this.has('ping') && this.here !== undefined ? this.liveness.ask() : undefined;
  }

  /** Ends the link; every channel on it is reset. */
  close(reason = new BridgeError('LINK_LOST', 'we closed the link')): void {
    this.elsewhere?.close(reason);
    this.here?.driver.stop(reason);
  }

  /** Sets the session up on both sides. */
  async begin(): Promise<void> {
    const { identity, chooseLane } = this.options;
    const host = identity.role === 'host';
    if (host) this.lane = chooseLane?.(this.lanePeer);
    const moveAway = host ? this.mover : undefined;
    if (moveAway !== undefined) await moveAway();
    else this.carryHere();
    if (this.has('control')) await (host ? this.start() : this.awaitStart());
    if (this.has('ping') && !this.ended) this.startHeartbeat();
  }

  /** Gives the session to another thread, where one can carry it: vpnkit's protocol and what is no socket stay here. */
  private get mover(): (() => Promise<void>) | undefined {
    const able = this.lane === 'multiplexed' && this.has('control') && this.has('udp-flows');
    const { stream } = this;
    const { carrier } = this.options;
    if (!able || carrier === undefined || !(stream instanceof Socket)) return undefined;
    return () => this.moveAway(carrier, stream);
  }

  private get settings(): SessionSettings {
    return {
      dialled: this.options.dialled,
      legacy: this.peer === undefined,
      extensions: {
        dialResults: this.has('dial-result'),
        resets: this.has('reset'),
        control: this.has('control'),
        dedicated: this.has('dedicated'),
        pings: this.has('ping'),
        details: this.has('details'),
      },
    };
  }

  private carryHere(): void {
    const { onChannel, onStreamReset } = this.options;
    const driver: MuxDriver = new MuxDriver(this.stream, (error) => this.lost(error, session.dump()));
    const session: MuxSession = new MuxSession(sessionOptions(this.settings), {
      open: (channel) => onChannel(channel, this),
      control: (payload) => {
        this.turns.take(payload, () => driver.hold(this.turns.full));
        driver.hold(this.turns.full);
      },
      streamReset: (streamId, errno) => onStreamReset(streamId, errno, this),
      pong: (number) => {
        this.heart?.pong(number);
        this.liveness.pong(number);
      },
      writable: () => driver.schedule(),
    });
    this.here = { session, driver };
    driver.start(session);
  }

  private async moveAway(carrier: SessionCarrier, stream: Socket): Promise<void> {
    const carried = await carrier.carry(stream, this.settings, {
      control: (payload, dealt) => {
        try {
          this.turns.take(payload, dealt);
        } catch (error) {
          carried.close(asBridgeError(error));
        }
      },
      streamReset: (streamId, errno) => this.options.onStreamReset(streamId, errno, this),
      rtt: (ms) => this.measured(ms),
      over: (reason, lately) => this.lost(reason, lately),
    });
    this.elsewhere = carried;
  }

  /** @throws BridgeError PROTOCOL, and what handlers throw */
  private hear(message: ControlMessage): void {
    if (message.type !== 'spares') return this.inbox.take(message);
    const { onSpares } = this.options;
    if (onSpares === undefined || this.lane !== 'dedicated')
      throw new BridgeError('PROTOCOL', 'spare streams are wanted where nobody opens any');
    onSpares(message.count, this);
  }

  /** In the thread that carries the session, so that a busy other one is not taken for a dead peer. */
  private startHeartbeat(): void {
    const { heartbeatMs = HEARTBEAT_MS } = this.options;
    if (this.elsewhere !== undefined) return this.elsewhere.startHeartbeat(heartbeatMs);
    const heart = new SessionHeart(this.session, heartbeatMs, {
      rtt: (ms) => this.measured(ms),
      dead: (reason) => this.close(reason),
    });
    this.heart = heart;
    this.ticking = setInterval(() => heart.tick(), heart.tickMs).unref();
  }

  private measured(ms: number): void {
    this.rttMs = Math.round(ms * 1_000) / 1_000;
  }

  private lost(error: BridgeError, lately: readonly string[]): void {
    if (this.ended) return;
    if (error.code === 'PROTOCOL')
      this.options.log.error({ lately }, `link ended: the peer broke the protocol: ${error.message}`);
    this.over(error);
  }

  /** Host: hands over the stream key and waits until the shim has it. */
  private async start(): Promise<void> {
    const { lane } = this;
    this.streamKey = randomBytes(STREAM_KEY_BYTES);
    this.send({ type: 'start', streamKey: this.streamKey, ...(lane === undefined ? {} : { lane }) });
    const answer = await this.nextMessage();
    if (answer.type !== 'started')
      throw new BridgeError('PROTOCOL', `the shim answered "start" with "${answer.type}"`);
  }

  /** Shim: waits for the host's `start`. */
  private async awaitStart(): Promise<void> {
    const message = await this.nextMessage();
    if (message.type !== 'start')
      throw new BridgeError('PROTOCOL', `the host began with "${message.type}" instead of "start"`);
    this.streamKey = message.streamKey;
    this.lane = message.lane;
    this.options.onStreamKey?.(this);
    const { here, mover } = this;
    if (mover !== undefined && here !== undefined) {
      // The host says nothing before it has heard `started`, so the stream stands between two frames.
      here.driver.release();
      this.here = undefined;
      await mover();
    }
    this.send({ type: 'started' });
  }

  private async nextMessage(): Promise<ControlMessage> {
    const { promise, resolve, reject } = deferred<ControlMessage>();
    const timer = setTimeout(
      () => reject(new BridgeError('TIMEOUT', `the peer was silent for ${STEP_MS / 1000} s after its hello`)),
      STEP_MS,
    );
    void this.closed.then(reject);
    this.inbox.next(resolve);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * Sets a link up on a fresh stream. On failure the stream is closed; if its peer did not prove itself, by and by.
 * @throws BridgeError PROTOCOL (another protocol or version, no hello, wrong role), AUTH_FAILED, TIMEOUT, LINK_LOST,
 *   CANCELLED, and what reading the token throws
 */
export async function establishLink(stream: Duplex, options: LinkOptions): Promise<Link> {
  const { identity, dialled, signal, admission = new Admission('here', options.log) } = options;
  let link: Link | undefined;
  stream.on('error', () => {}); // told by whoever reads at that time
  admission.enter(stream);
  try {
    const token = await options.readToken?.();
    const hello = encodeHello(identity.nextHello(token && randomBytes(NONCE_BYTES)));
    stream.write(encodeHandshake(hello));
    const payload = await readHead(stream, decodeHandshake, {
      what: 'handshake',
      maxBytes: MAX_HANDSHAKE_BYTES,
      timeoutMs: STEP_MS,
      signal,
    });
    const peer = payload.length === 0 ? undefined : decodeHello(payload);
    checkTokens(peer, token !== undefined);
    checkPeer(peer, options);
    if (token !== undefined) {
      const hellos = dialled ? { dialler: hello, acceptor: payload } : { dialler: payload, acceptor: hello };
      const side = dialled ? 'dialler' : 'acceptor';
      await prove(stream, { token, side, hellos, timeoutMs: STEP_MS, signal });
    }
    link = new Link(stream, peer, options);
    await link.begin();
    admission.admit(stream);
    return link;
  } catch (error) {
    link?.close();
    admission.refuse(stream, error, dialled);
    throw error;
  }
}

function asBridgeError(error: unknown): BridgeError {
  return error instanceof BridgeError ? error : new BridgeError('PROTOCOL', messageOf(error));
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

/** Both sides have a token, or none has. Each end says the same of it. */
function checkTokens(peer: Hello | undefined, have: boolean): void {
  const peerHas = peer?.nonce !== undefined;
  if (have && peer === undefined)
    throw new BridgeError(
      'AUTH_FAILED',
      'the peer sent no hello, so it cannot prove that it has our token: with --token-file no vpnkit is let in',
    );
  if (have && !peerHas)
    throw new BridgeError(
      'AUTH_FAILED',
      'we ask for proof of our token, and the peer has none: give it the same with --token-file',
    );
  if (!have && peerHas)
    throw new BridgeError(
      'AUTH_FAILED',
      'the peer asks for proof of a token, and we have none: give us the same with --token-file',
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
