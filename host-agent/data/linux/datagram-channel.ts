import { decodeDestination } from '../../../shared/destination.ts';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { DescriptorEnd } from '../../../shared/platform/linux/mux/descriptor-end.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import { BRIDGED_UNIX } from '../../../shared/platform/linux/side.ts';
import { ChannelEnd } from '../../../shared/relay/channel-end.ts';
import { Connection } from '../../../shared/relay/connection.ts';

/**
 * The datagrams of a forward as a channel: u32 frames come and go on one end of a pair of sockets, at whose other end
 * they look as on a dedicated stream. A channel that cannot be opened is an end of that stream; a stream that is closed is a
 * reset of the channel, as a dedicated one is aborted.
 */
export class DatagramChannel {
  private readonly link: WorkerLink;
  private readonly end: DescriptorEnd;
  private readonly connection: Connection;
  private reset: (errno: number) => void = () => {};

  /** Takes over our end of the pair. */
  constructor(reactor: Reactor, link: WorkerLink, fd: number) {
    this.link = link;
    this.end = new DescriptorEnd(reactor, fd, BRIDGED_UNIX, link.boxes, () => {});
    this.connection = new Connection(this.end, {
      counters: { bytesUp: 0, bytesDown: 0 },
      cancelDial: () => this.reset(ERRNO.ECANCELED),
      closed() {},
    });
    this.end.watch();
  }

  /** @param destination as encodeDestination has it. @param details as encodeDetails has them */
  open(destination: Uint8Array, details: Uint8Array): void {
    const tunnel = new ChannelEnd(true);
    try {
      const target = decodeDestination(Buffer.from(destination), 0).destination;
      const handler = {
        ...tunnel.events(),
        dialResult: (errno: number) => {
          if (errno === 0) this.connection.dialled(tunnel);
          else this.fail(errno);
        },
        reset: (errno: number) => {
          this.fail(errno); // nothing happens when it was opened
          tunnel.aborted(errno);
        },
      };
      const channel = this.link.session.open(target, handler, details);
      this.reset = (errno) => channel.reset(errno);
      tunnel.bind(channel);
      this.end.feed(channel);
    } catch (error) {
      this.connection.dialFailed(error as BridgeError);
    }
  }

  private fail(errno: number): void {
    this.connection.dialFailed(new BridgeError('DIAL_FAILED', 'the shim takes no datagrams', { errno }));
  }
}
