import { type SideKind, TUNNEL_TCP, TUNNEL_UNIX, tunnelKind } from '../../../shared/platform/linux/side.ts';
import { familyOf } from '../../../shared/platform/linux/sockaddr.ts';
import type { DialTarget } from '../../../shared/platform/linux/stream-dial.ts';
import type { StreamPathOrder } from './orders.ts';
import { PathSpares } from './path-spares.ts';
import { PrefaceTemplate } from './preface-template.ts';
import { SpareCells } from './spare-cells.ts';

/** How long the transport may take to accept a stream, milliseconds. */
const CONNECT_MS = 20_000;

/** The worker that a path is used in. */
export interface PathWorker {
  readonly index: number;
  /** How many workers there are. */
  readonly count: number;
  /** Tells the main thread that more clients wait for spare streams of a path. */
  readonly short: (path: number) => void;
}

/** How a worker opens streams to a VM over the link that is up. */
export class HostPath implements DialTarget {
  readonly number: number;
  readonly owner: number;
  readonly sockaddr: Buffer;
  readonly kind: SideKind;
  readonly withinMs = CONNECT_MS;
  readonly udpFlows: boolean;
  /** Where streams are taken from that cannot be dialled. */
  readonly spares: PathSpares | undefined;
  private readonly streamKey: Uint8Array;
  private readonly templates = new WeakMap<object, PrefaceTemplate>();

  constructor(order: StreamPathOrder, { index, count, short }: PathWorker) {
    this.number = order.number;
    this.owner = order.owner;
    this.udpFlows = order.udpFlows;
    this.streamKey = order.streamKey;
    const { via } = order;
    const dialled = 'sockaddr' in via;
    this.sockaddr = Buffer.from(dialled ? via.sockaddr : []);
    if (dialled) this.kind = tunnelKind(familyOf(this.sockaddr));
    else this.kind = via.tcp ? TUNNEL_TCP : TUNNEL_UNIX;
    this.spares = dialled
      ? undefined
      : new PathSpares(new SpareCells(count, via.spares), index, () => short(this.number));
  }

  templateOf(forward: { readonly destination: Uint8Array; readonly fields: Uint8Array }): PrefaceTemplate {
    let template = this.templates.get(forward);
    if (template === undefined) {
      template = new PrefaceTemplate(forward.destination, this.streamKey, forward.fields);
      this.templates.set(forward, template);
    }
    return template;
  }
}
