/**
 * The link to one VM, whichever side dials: at most one is up. Data asks it for the link that is up now and
 * may wait a little for one that is coming back. A shim that started anew replaces the old one, whose
 * dedicated streams are then dead.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { BridgeError } from '../../shared/errors.ts';
import { Admission } from '../../shared/link/admission.ts';
import { establishLink } from '../../shared/link/establish.ts';
import type { LinkIdentity } from '../../shared/link/identity.ts';
import type { Link } from '../../shared/link/link.ts';
import { ChannelHere, type OpenedChannel } from '../../shared/link/linked-socket.ts';
import { PeerStreams } from '../../shared/link/peer-streams.ts';
import type { CarriedSession, SessionCarrier } from '../../shared/link/session-settings.ts';
import type { Logger } from '../../shared/logger.ts';
import type { PlainAddress } from '../../shared/transport/address.ts';
import { chooseLane, type LanePreference } from '../../shared/transport/choose.ts';
import type { TransportTraits } from '../../shared/transport/transport.ts';
import { Waiters } from '../../shared/waiters.ts';
import { SparePool } from '../data/spare-pool.ts';
import { SocketShelf, type SpareShelf } from '../data/spare-shelf.ts';
import type { ActiveLink, LinkSource } from '../data/tunnel.ts';
import type { VmView } from './api.ts';
import type { ReverseForwards } from './reverse-forwards.ts';

/** How long a client that connects while the link is down waits for it, milliseconds. */
const WAIT_MS = 5_000;

export interface VmLinkOptions {
  readonly name: string;
  readonly identity: LinkIdentity;
  readonly legacyPeer: boolean;
  /** How often the shim is asked whether it is there, milliseconds. */
  readonly heartbeatMs?: number;
  /** Reads the token that the shim has to have too, where there is one. */
  readonly readToken?: () => Promise<Buffer>;
  readonly lane: LanePreference;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Told of the link where workers carry connections. */
  readonly path?: VmPath;
  /** Told of the link for the claims that the shim makes over it. */
  readonly claims?: { linkUp(link: Link): void; linkDown(): void; close(): void };
  /** What of the host is published in the VM. */
  readonly reverse?: ReverseForwards;
}

/** The way to a VM, as those who carry its connections elsewhere see it. */
export interface VmPath {
  /** Carries sessions of the multiplexed lane. */
  readonly carrier: SessionCarrier;
  /** Connections have dedicated streams from now on. */
  up(link: {
    streams: PeerStreams;
    streamKey: Buffer;
    udpFlows: boolean;
    /** Where they are dialled, or a shelf of `newShelf` where they come from. */
    via: PlainAddress | SpareShelf;
  }): void;
  /** A shelf for the spare streams of a link, from which others take them too. */
  newShelf(tcp: boolean): SpareShelf;
  /** Connections are channels of a session that a worker carries. */
  upCarried(session: CarriedSession): void;
  down(): void;
  /** Draws a number that no other stream to this VM has. */
  nextStreamId(): number;
}

/** How the streams of this VM are opened: what the transport can do, and a way to dial it where there is one. */
export interface StreamOpener {
  readonly traits: TransportTraits;
  /** Where it dials, where others can dial there as well. */
  readonly address?: PlainAddress;
  /** Streams that arrive are TCP. */
  readonly tcp?: boolean;
  dial(signal: AbortSignal): Promise<Socket>;
}

export class VmLink implements LinkSource {
  readonly name: string;
  readonly admission: Admission;
  private readonly options: VmLinkOptions;
  private active: ActiveLink | undefined;
  /** The streams that the shim opens for the link in use, where we cannot. */
  private spares: SparePool | undefined;
  private spareKey: Buffer | undefined;
  private streams = new PeerStreams();
  private instance: string | undefined;
  /** The instance whose link was up when another one came last. */
  private replaced: string | undefined;
  private lastStreamId = 0;
  private readonly waiters = new Waiters<ActiveLink>();

  constructor(options: VmLinkOptions) {
    this.name = options.name;
    this.options = options;
    this.admission = new Admission(`to VM "${options.name}"`, options.log);
  }

  get up(): boolean {
    return this.active !== undefined;
  }

  get lane(): string | undefined {
    return this.active?.lane;
  }

  /** As the API shows it. */
  get view(): VmView {
    const { name, up, lane } = this;
    const token = this.options.readToken !== undefined;
    const rttMs = this.active?.link.rttMs;
    return { name, up, lane, rttMs, token, authFailures: this.admission.failures };
  }

  /** Sets a link up on a fresh stream. @throws BridgeError as establishLink does */
  establish(stream: Duplex, dialled: boolean, { traits }: StreamOpener): Promise<Link> {
    const { identity, legacyPeer, heartbeatMs, readToken, log, signal, lane, path } = this.options;
    return establishLink(stream, {
      ...(path === undefined ? {} : { carrier: path.carrier }),
      ...(readToken === undefined ? {} : { readToken }),
      admission: this.admission,
      ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
      chooseLane: (peer) => chooseLane(traits, lane, peer).lane,
      identity,
      dialled,
      legacyPeer,
      log,
      signal,
      onChannel: (channel, link) => this.serveChannel(new ChannelHere(channel), link),
      onCarriedChannel: (channel, link) => this.serveChannel(channel, link),
      onReverse: (message, link) => {
        if (link === this.active?.link) this.options.reverse?.take(message);
      },
      onStreamReset: (streamId, errno, link) => {
        if (link.peer?.instance === this.instance) this.streams.remoteReset(streamId, errno);
      },
    });
  }

  /** Makes a link the one in use, until it is over. */
  async serve(link: Link, opener: StreamOpener): Promise<void> {
    const { lane: preference, log, path, claims, reverse, signal } = this.options;
    if (signal.aborted) return link.close();
    const { lane, why } = chooseLane(opener.traits, preference, link.lanePeer);
    if (preference === 'dedicated' && lane !== 'dedicated')
      log.warn(`dedicated streams were asked for but cannot be used: ${why}`);
    this.replaceActive(link);
    this.takeInstance(link.peer?.instance);
    const shelf =
      lane === 'dedicated' && opener.traits.whoDials === 'vm'
        ? (path?.newShelf(opener.tcp === true) ?? new SocketShelf())
        : undefined;
    const spares = shelf && new SparePool({ shelf, ask: (count) => link.send({ type: 'spares', count }) });
    const active: ActiveLink = {
      link,
      lane,
      streams: this.streams,
      dial: (signal) => spares?.take(signal) ?? opener.dial(signal),
      nextStreamId: () => {
        if (path !== undefined) return path.nextStreamId();
        this.lastStreamId = (this.lastStreamId + 1) >>> 0;
        return this.lastStreamId;
      },
    };
    this.active = active;
    this.spares?.close();
    this.spares = spares;
    this.spareKey = spares && link.streamKey;
    this.streams.linkUp(link);
    const via = shelf ?? opener.address;
    const { carried } = link;
    if (carried !== undefined) path?.upCarried(carried);
    else if (lane === 'dedicated' && via !== undefined)
      path?.up({
        streams: this.streams,
        streamKey: link.streamKey,
        udpFlows: link.has('udp-flows'),
        via,
      });
    else path?.down();
    const peer = link.peer?.implementation ?? 'a vpnkit peer';
    const carrier = carrierOf(link, lane, path !== undefined);
    log.info({ peer, lane, why, carrier }, `link is up (${lane} lane, carried by ${carrier})`);
    spares?.begin();
    claims?.linkUp(link);
    reverse?.linkUp(link);
    this.waiters.giveAll(active);
    const reason = await link.closed;
    log.warn({ code: reason.code }, `link is down: ${reason.message}`);
    if (this.active === active) {
      this.active = undefined;
      path?.down();
      claims?.linkDown();
      reverse?.linkDown();
      this.streams.linkDown();
    }
    spares?.close(); // nobody looks for more of them now
  }

  /** Takes over a spare stream of the link that was up last. @throws BridgeError PERMISSION_DENIED for one of another link */
  addSpare(streamKey: Buffer, stream: Socket): void {
    const { spares, spareKey } = this;
    if (spares === undefined || spareKey === undefined || !timingSafeEqual(streamKey, spareKey))
      throw new BridgeError('PERMISSION_DENIED', 'a spare stream carries the key of no link that takes any');
    spares.add(stream);
  }

  whenUp(signal: AbortSignal): Promise<ActiveLink> {
    if (this.active !== undefined) return Promise.resolve(this.active);
    const { name } = this;
    return this.waiters.wait({
      ms: WAIT_MS,
      late: () =>
        new BridgeError(
          'NO_LINK',
          `no link to VM "${name}" for ${WAIT_MS / 1000} s: is portferry vm-shim running there?`,
        ),
      cancel: {
        signal,
        error: () => new BridgeError('CANCELLED', `waiting for the link to VM "${name}" was cancelled`),
      },
    });
  }

  /** Ends the link and every dedicated stream that waits for it. */
  close(): void {
    this.options.claims?.close();
    this.options.reverse?.close();
    this.admission.close();
    this.streams.end();
    this.spares?.close();
    this.active?.link.close();
  }

  /** The shim opens channels for nothing but clients of what was published in the VM. */
  private serveChannel(channel: OpenedChannel, link: Link): void {
    const { reverse } = this.options;
    if (reverse !== undefined && link.has('reverse')) return reverse.serve(channel);
    const denied = new BridgeError('PERMISSION_DENIED', 'nothing is published in the VM', { errno: 'EPERM' });
    channel.refuse(denied);
  }

  /** A shim that was started anew is another instance: one that comes back after another had its place runs beside it. */
  private replaceActive(link: Link): void {
    if (this.active === undefined) return;
    const next = link.peer?.instance;
    const two = next !== undefined && next !== this.instance && next === this.replaced;
    const hint = two ? ', of a VM shim whose place it had taken: two of them use this URL' : '';
    this.replaced = this.instance;
    this.active.link.close(new BridgeError('LINK_LOST', `a newer link has taken its place${hint}`));
  }

  private takeInstance(instance: string | undefined): void {
    if (instance !== undefined && instance === this.instance) return;
    this.streams.end();
    this.streams = new PeerStreams();
    this.instance = instance;
  }
}

/** Who carries the connections of a link, for the log. */
function carrierOf({ carried }: Link, lane: string, workers: boolean): string {
  if (carried !== undefined) return `worker ${carried.worker}`;
  return workers && lane === 'dedicated' ? 'all workers' : 'the main thread';
}
