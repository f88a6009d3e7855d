/**
 * The links to host agents: usually one. Each host instance keeps its dedicated streams over a lost link; an
 * instance whose link is down is given up when another one comes.
 */
import type { Duplex } from 'node:stream';
import { Admission } from '../../shared/link/admission.ts';
import { establishLink } from '../../shared/link/establish.ts';
import type { LinkIdentity } from '../../shared/link/identity.ts';
import type { Link } from '../../shared/link/link.ts';
import { PeerStreams } from '../../shared/link/peer-streams.ts';
import type { SessionCarrier } from '../../shared/link/session-settings.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Channel } from '../../shared/mux/channel.ts';
import { ChannelEnd } from '../../shared/relay/channel-end.ts';
import type { ReverseMessage } from '../../shared/reverse-messages.ts';
import type { StreamOwner } from '../data/acceptor.ts';
import { type IncomingContext, serveIncoming } from '../data/incoming.ts';
import type { SpareSource } from '../data/spare-streams.ts';
import type { ReverseListeners } from './reverse-listeners.ts';

export interface HostLinksOptions {
  readonly identity: LinkIdentity;
  readonly legacyPeer: boolean;
  /** How often the host agent is asked whether it is there, milliseconds. */
  readonly heartbeatMs: number;
  /** Reads the token that the host has to have too, where there is one. */
  readonly readToken?: () => Promise<Buffer>;
  readonly context: IncomingContext;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Told of the keys of links where workers accept dedicated streams. */
  readonly keys?: StreamKeys;
  /** Told of links, to claim over them. */
  readonly claims?: { linkUp(link: Link): void; linkDown(link: Link): void };
  /** What host agents publish in this VM. */
  readonly reverse?: ReverseListeners;
  /** Opens spare streams with the key of a link that we dialled. */
  readonly spares?: (streamKey: Buffer) => SpareSource;
  /** Carries sessions of the multiplexed lane. */
  readonly carrier?: SessionCarrier;
}

/** Who else has to know which key belongs to which instance. */
export interface StreamKeys {
  addKey(streamKey: Buffer, streams: PeerStreams, udpFlows: boolean): void;
  removeKey(streamKey: Buffer): void;
}

interface Host {
  readonly streams: PeerStreams;
  link: Link | undefined;
}

export class HostLinks {
  readonly admission: Admission;
  private readonly options: HostLinksOptions;
  private readonly hosts = new Map<string, Host>();
  private readonly owners = new Map<string, StreamOwner>();
  private readonly spares = new Map<Link, SpareSource>();

  constructor(options: HostLinksOptions) {
    this.options = options;
    this.admission = new Admission('to a host agent', options.log);
  }

  /** Sets a link up on a fresh stream. @throws BridgeError as establishLink does */
  establish(stream: Duplex, dialled: boolean): Promise<Link> {
    const { identity, legacyPeer, heartbeatMs, readToken, log, signal, carrier, reverse, spares } =
      this.options;
    return establishLink(stream, {
      ...(carrier === undefined ? {} : { carrier }),
      ...(readToken === undefined ? {} : { readToken }),
      admission: this.admission,
      heartbeatMs,
      identity,
      dialled,
      legacyPeer,
      log,
      signal,
      ...(dialled && spares !== undefined
        ? { onSpares: (count: number, link: Link) => this.openSpares(link, count, spares) }
        : {}),
      ...(reverse === undefined
        ? {}
        : { onReverse: (message: ReverseMessage, link: Link) => reverse.take(message, link) }),
      onChannel: (channel, link) => this.serveChannel(channel, link),
      onStreamKey: (link) => this.admit(link),
      onStreamReset: (streamId, errno, link) =>
        this.hosts.get(instanceOf(link))?.streams.remoteReset(streamId, errno),
    });
  }

  /** Serves a link until it is over. */
  async serve(link: Link): Promise<void> {
    const { log, claims, reverse } = this.options;
    const host = this.hostOf(link);
    const key = link.streamKey.toString('hex');
    host.link = link;
    if (link.has('dedicated'))
      this.owners.set(key, { streams: host.streams, udpFlows: link.has('udp-flows') });
    host.streams.linkUp(link);
    const { lane, carried } = link;
    const peer = link.peer?.implementation ?? 'a vpnkit peer';
    const carrier = carried === undefined ? 'the main thread' : `worker ${carried.worker}`;
    log.info({ peer, lane, carrier }, `link is up, carried by ${carrier}`);
    claims?.linkUp(link);
    reverse?.linkUp(link);
    const reason = await link.closed;
    claims?.linkDown(link);
    reverse?.linkDown(link);
    log.warn({ code: reason.code }, `link is down: ${reason.message}`);
    this.owners.delete(key);
    if (host.link !== link) return;
    host.link = undefined;
    host.streams.linkDown();
  }

  ownerOf(streamKey: Buffer): StreamOwner | undefined {
    return this.owners.get(streamKey.toString('hex'));
  }

  close(): void {
    this.admission.close();
    for (const host of this.hosts.values()) {
      host.streams.end();
      host.link?.close();
    }
  }

  /** Streams with the key of this link may come as soon as the host has heard that we know it. */
  private admit(link: Link): void {
    const { keys } = this.options;
    if (keys === undefined || !link.has('dedicated')) return;
    const host = this.hostOf(link);
    host.link = link;
    keys.addKey(link.streamKey, host.streams, link.has('udp-flows'));
    void link.closed.then(() => keys.removeKey(link.streamKey));
  }

  private openSpares(link: Link, count: number, open: (streamKey: Buffer) => SpareSource): void {
    let spares = this.spares.get(link);
    if (spares === undefined) {
      const opened = open(link.streamKey);
      spares = opened;
      this.spares.set(link, spares);
      void link.closed.then(() => {
        this.spares.delete(link);
        opened.end();
      });
    }
    spares.want(count);
  }

  private hostOf(link: Link): Host {
    const instance = instanceOf(link);
    for (const [other, host] of this.hosts) {
      if (other === instance || host.link !== undefined) continue;
      host.streams.end();
      this.hosts.delete(other);
    }
    const known = this.hosts.get(instance);
    if (known !== undefined) return known;
    const host: Host = { streams: new PeerStreams(), link: undefined };
    this.hosts.set(instance, host);
    return host;
  }

  private serveChannel(channel: Channel, link: Link): void {
    const end = new ChannelEnd();
    end.bind(channel);
    channel.handler = end.events();
    const { destination, details } = channel;
    serveIncoming({ destination, end, udpFlows: link.has('udp-flows'), ...details }, this.options.context);
  }
}

/** A vpnkit has no instance, nor any dedicated stream. */
function instanceOf(link: Link): string {
  return link.peer?.instance ?? '';
}
