import { type SideKind, tunnelKind } from '../../../shared/platform/linux/side.ts';
import { familyOf } from '../../../shared/platform/linux/sockaddr.ts';
import type { DialTarget } from '../../../shared/platform/linux/stream-dial.ts';
import type { StreamPathOrder } from './orders.ts';
import { PrefaceTemplate } from './preface-template.ts';

/** How long the transport may take to accept a stream, milliseconds. */
const CONNECT_MS = 20_000;

/** How a worker opens streams to a VM over the link that is up. */
export class HostPath implements DialTarget {
  readonly number: number;
  readonly owner: number;
  readonly sockaddr: Buffer;
  readonly kind: SideKind;
  readonly withinMs = CONNECT_MS;
  readonly udpFlows: boolean;
  private readonly streamKey: Uint8Array;
  private readonly templates = new WeakMap<object, PrefaceTemplate>();

  constructor(order: StreamPathOrder) {
    this.number = order.number;
    this.owner = order.owner;
    this.udpFlows = order.udpFlows;
    this.streamKey = order.streamKey;
    this.sockaddr = Buffer.from(order.sockaddr);
    this.kind = tunnelKind(familyOf(this.sockaddr));
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
