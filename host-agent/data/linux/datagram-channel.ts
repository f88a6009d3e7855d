import { decodeDestination } from '../../../shared/destination.ts';
import { BridgeError } from '../../../shared/errors.ts';
import { ChannelDial } from '../../../shared/platform/linux/mux/channel-dial.ts';
import { DescriptorEnd } from '../../../shared/platform/linux/mux/descriptor-end.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';
import { BRIDGED_UNIX } from '../../../shared/platform/linux/side.ts';
import { Connection } from '../../../shared/relay/connection.ts';

/**
 * The datagrams of a forward as a channel: u32 frames come and go on one end of a pair of sockets, at whose other end
 * they look as on a dedicated stream. A channel that cannot be opened is an end of that stream; a stream that is closed is a
 * reset of the channel, as a dedicated one is aborted.
 */
export class DatagramChannel {
  private readonly dial: ChannelDial;
  private readonly end: DescriptorEnd;
  private readonly connection: Connection;

  /** Takes over our end of the pair. */
  constructor(reactor: Reactor, link: WorkerLink, fd: number) {
    this.dial = new ChannelDial(reactor, link, (errno, tunnel) => {
      if (errno === 0) this.connection.dialled(tunnel);
      else
        this.connection.dialFailed(new BridgeError('DIAL_FAILED', 'the shim takes no datagrams', { errno }));
    });
    this.end = new DescriptorEnd(reactor, fd, BRIDGED_UNIX, link.boxes, () => {});
    this.connection = new Connection(this.end, {
      counters: { bytesUp: 0, bytesDown: 0 },
      cancelDial: () => this.dial.cancel(),
      closed() {},
    });
    this.end.watch();
  }

  /** @param destination as encodeDestination has it. @param details as encodeDetails has them */
  open(destination: Uint8Array, details: Uint8Array): void {
    try {
      const target = decodeDestination(Buffer.from(destination), 0).destination;
      this.end.feed(this.dial.open(target, details));
    } catch (error) {
      this.connection.dialFailed(error as BridgeError);
    }
  }
}
