/**
 * One negotiated session between a host agent and a VM shim over one transport stream, from the hellos on: the mux, then
 * `start`/`started`, by which the host hands over the key of this link's dedicated streams, then the heart-beat. Towards
 * a vpnkit we stay strictly inside its protocol.
 */
import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  agreedFeatures,
  type ControlMessage,
  decodeControl,
  encodeControl,
  type Feature,
  type Hello,
} from '../control-codec.ts';
import { BridgeError, messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Channel } from '../mux/channel.ts';
import { MuxDriver } from '../mux/driver.ts';
import { MuxSession } from '../mux/session.ts';
import { STREAM_KEY_BYTES } from '../preface.ts';
import { isReverseMessage, type ReverseMessage } from '../reverse-messages.ts';
import type { Lane, LanePeer } from '../transport/choose.ts';
import { Turns } from '../turns.ts';
import type { Admission } from './admission.ts';
import { ControlInbox } from './control-inbox.ts';
import { HEARTBEAT_MS } from './heartbeat.ts';
import type { LinkIdentity } from './identity.ts';
import {
  connectHere,
  type LinkedSocket,
  type LinkedSocketHooks,
  type LinkTarget,
  type OpenedChannel,
} from './linked-socket.ts';
import { Liveness } from './liveness.ts';
import { SessionHeart } from './session-heart.ts';
import {
  type CarriedSession,
  type SessionCarrier,
  type SessionSettings,
  sessionOptions,
} from './session-settings.ts';

/** How long each step of setting up a link may take, milliseconds. */
export const STEP_MS = 10_000;
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
  /** Host: the peer opened a channel of a session that a worker carries. */
  readonly onCarriedChannel?: (channel: OpenedChannel, link: Link) => void;
  /** What the peer says of reverse forwards. */
  readonly onReverse?: (message: ReverseMessage, link: Link) => void;
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
  private readonly features: ReadonlySet<Feature>;
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
  private readonly turns = new Turns<Buffer>(
    (payload) => this.hear(decodeControl(payload)),
    (error) => this.close(asBridgeError(error)),
  );

  constructor(stream: Duplex, peer: Hello | undefined, options: LinkOptions) {
    this.stream = stream;
    this.peer = peer;
    this.options = options;
    this.features = peer === undefined ? new Set() : agreedFeatures(peer);
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
   * Carries a client over a channel that is opened for it, wherever the session lives.
   * @param socket paused, half-open allowed; it is the callee's
   * @throws BridgeError LINK_LOST when the link is over
   */
  connect(socket: Socket, target: LinkTarget, hooks: LinkedSocketHooks): LinkedSocket {
    return this.elsewhere === undefined
      ? connectHere(this.session, socket, target, hooks)
      : this.elsewhere.connect(socket, target, hooks);
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
    const needed = ['control', 'udp-flows', 'dial-result'] as const;
    const able = this.lane === 'multiplexed' && needed.every((feature) => this.has(feature));
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
      opened: (channel) => this.options.onCarriedChannel?.(channel, this),
      over: (reason, lately) => this.lost(reason, lately),
    });
    this.elsewhere = carried;
  }

  /** @throws BridgeError PROTOCOL, and what handlers throw */
  private hear(message: ControlMessage): void {
    const { onReverse, onSpares } = this.options;
    if (isReverseMessage(message)) {
      if (onReverse === undefined || !this.has('reverse'))
        throw new BridgeError('PROTOCOL', `control message "${message.type}" without having negotiated it`);
      return onReverse(message, this);
    }
    if (message.type !== 'spares') return this.inbox.take(message);
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

function asBridgeError(error: unknown): BridgeError {
  return error instanceof BridgeError ? error : new BridgeError('PROTOCOL', messageOf(error));
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
