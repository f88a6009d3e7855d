import { BridgeError } from '../../../errors.ts';
import { type SessionSettings, sessionOptions } from '../../../link/session-settings.ts';
import type { Channel } from '../../../mux/channel.ts';
import { MuxSession } from '../../../mux/session.ts';
import type { Reactor } from '../reactor.ts';
import type { LinkBoxes } from './descriptor-end.ts';
import { InBox } from './in-box.ts';
import { type LinkOrder, type LinkReport, MESSAGE_BYTES } from './link-orders.ts';
import { LinkStream } from './link-stream.ts';
import { OutBox } from './out-box.ts';
import { WorkerHeart } from './worker-heart.ts';
import { WorkerSockets } from './worker-sockets.ts';

/** What a unix socket holds for its reader: a whole batch, so that it is written at once. */
const SEND_BUFFER_BYTES = 512 * 1024;

/** A link whose session lives in this worker. */
export interface WorkerLink {
  readonly number: number;
  readonly session: MuxSession;
  readonly boxes: LinkBoxes;
  readonly settings: SessionSettings;
  /** So many bytes of messages wait for the main thread, besides others. */
  passOn(bytes: number): void;
}

/** The links of a worker. */
export class WorkerLinks {
  private readonly reactor: Reactor;
  private readonly post: (report: LinkReport, transfer?: readonly ArrayBuffer[]) => void;
  private readonly opened: (channel: Channel, link: WorkerLink) => void;
  private readonly sockets: WorkerSockets;
  private readonly links = new Map<number, WorkerLink & { readonly stream: LinkStream }>();
  private readonly hearts = new Map<number, WorkerHeart>();
  /** The memory of links that are over is used again. */
  private readonly idle: OutBox[] = [];
  private inBox: InBox | undefined;

  /** @param opened gets every channel that a peer opens, to be accepted or refused; else the main thread does */
  constructor(
    reactor: Reactor,
    post: (report: LinkReport, transfer?: readonly ArrayBuffer[]) => void,
    opened?: (channel: Channel, link: WorkerLink) => void,
  ) {
    this.reactor = reactor;
    this.post = post;
    this.sockets = new WorkerSockets(reactor, post);
    this.opened = opened ?? ((channel, link) => this.sockets.wanted(channel, link));
  }

  get(number: number): WorkerLink | undefined {
    return this.links.get(number);
  }

  /** @returns whether the order was for us */
  take(order: LinkOrder | { readonly type: string }): boolean {
    if (this.sockets.take(order, (number) => this.links.get(number))) return true;
    const known = order as LinkOrder;
    switch (known.type) {
      case 'link':
        this.add(known.link, known.fd, Buffer.from(known.early), known.settings);
        return true;
      case 'link-control':
        this.links.get(known.link)?.session.sendControl(Buffer.from(known.payload));
        return true;
      case 'link-stream-reset':
        this.links.get(known.link)?.session.sendStreamReset(known.streamId, known.errno);
        return true;
      case 'link-dealt-with':
        this.links.get(known.link)?.stream.dealtWith(known.bytes);
        return true;
      case 'link-heartbeat':
        this.startHeartbeat(known.link, known.intervalMs);
        return true;
      case 'link-close':
        this.links.get(known.link)?.stream.stop(new BridgeError('LINK_LOST', 'we closed the link'));
        return true;
      default:
        return false;
    }
  }

  closeAll(): void {
    for (const { stream } of [...this.links.values()])
      stream.stop(new BridgeError('LINK_LOST', 'we are stopping'));
  }

  private add(number: number, fd: number, early: Buffer, settings: SessionSettings): void {
    const { reactor, post } = this;
    reactor.own(fd);
    // TCP finds its own size, unless it is told one.
    if (reactor.sockets.isUnix(fd)) reactor.sockets.wantRoomToWrite(fd, SEND_BUFFER_BYTES);
    this.inBox ??= new InBox(reactor.libc);
    const outBox = this.idle.pop() ?? new OutBox(reactor.libc);
    const boxes = { inBox: this.inBox, outBox };
    const stream = new LinkStream(reactor, fd, boxes, (error) => {
      this.links.delete(number);
      this.hearts.get(number)?.stop();
      this.hearts.delete(number);
      outBox.discard();
      this.idle.push(outBox);
      const lately = error.code === 'PROTOCOL' ? session.dump() : [];
      post({ type: 'link-over', link: number, code: error.code, message: error.message, lately });
    });
    const session = new MuxSession(sessionOptions(settings), {
      open: (channel) => this.opened(channel, link),
      control: (payload) => {
        const bytes = payload.length + MESSAGE_BYTES;
        const copy = new Uint8Array(payload);
        stream.passOn(bytes);
        // Handed over, so that it counts as memory of the thread that frees it.
        post({ type: 'link-control', link: number, payload: copy, bytes }, [copy.buffer]);
      },
      streamReset: (streamId, errno) => {
        stream.passOn(MESSAGE_BYTES);
        post({ type: 'link-stream-reset', link: number, streamId, errno, bytes: MESSAGE_BYTES });
      },
      pong: (answer) => this.hearts.get(number)?.pong(answer),
      writable: () => stream.schedule(),
    });
    const passOn = (bytes: number): void => stream.passOn(bytes);
    const link = { number, session, boxes, settings, stream, passOn };
    this.links.set(number, link);
    stream.start(session, early);
  }

  private startHeartbeat(link: number, intervalMs: number): void {
    const known = this.links.get(link);
    if (known === undefined) return;
    const { session, stream } = known;
    const heart = new WorkerHeart(this.reactor, session, intervalMs, {
      rtt: (ms) => this.post({ type: 'link-rtt', link, ms }),
      dead: (reason) => stream.stop(reason),
    });
    this.hearts.set(link, heart);
  }
}
