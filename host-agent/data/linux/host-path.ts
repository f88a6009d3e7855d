import { AF_UNIX } from '../../../shared/platform/linux/constants.ts';
import { familyOf } from '../../../shared/platform/linux/sockaddr.ts';
import type { StreamPathOrder } from './orders.ts';
import { PrefaceTemplate } from './preface-template.ts';

/** How a worker opens streams to a VM over the link that is up. */
export class HostPath {
  readonly number: number;
  readonly owner: number;
  readonly sockaddr: Buffer;
  readonly tcp: boolean;
  readonly udpFlows: boolean;
  private readonly streamKey: Uint8Array;
  private readonly templates = new WeakMap<object, PrefaceTemplate>();

  constructor(order: StreamPathOrder) {
    this.number = order.number;
    this.owner = order.owner;
    this.udpFlows = order.udpFlows;
    this.streamKey = order.streamKey;
    this.sockaddr = Buffer.from(order.sockaddr);
    this.tcp = familyOf(this.sockaddr) !== AF_UNIX;
  }

  templateOf(forward: { readonly destination: Uint8Array }): PrefaceTemplate {
    let template = this.templates.get(forward);
    if (template === undefined) {
      template = new PrefaceTemplate(forward.destination, this.streamKey);
      this.templates.set(forward, template);
    }
    return template;
  }
}
