import { ipsOverlap } from '../ip.ts';
import { type BindRequest, portInUse } from './bind-error.ts';
import { letsTcpOverlap } from './diagnosis/choose.ts';

type Place = Pick<BindRequest, 'ip' | 'port'>;

/** The TCP ports of this process, where the system would let it take 127.0.0.1:80 beside its own 0.0.0.0:80. */
export class OwnListeners {
  private readonly taken = new Map<number, Place[]>();

  /**
   * @returns what gives it back
   * @throws BridgeError PORT_IN_USE where we have the port at this address, at all, or at one of all that are wanted
   */
  take({ ip, port }: Place): () => void {
    const there = this.taken.get(port) ?? [];
    if (there.some((other) => ipsOverlap(other.ip, ip))) throw portInUse({ protocol: 'tcp', ip, port });
    const mine = { ip, port };
    this.taken.set(port, [...there, mine]);
    return () => {
      const others = this.taken.get(port)?.filter((other) => other !== mine) ?? [];
      if (others.length > 0) this.taken.set(port, others);
      else this.taken.delete(port);
    };
  }
}

/** Of this process; undefined where the system refuses such a port itself. */
export const ownListeners: OwnListeners | undefined = letsTcpOverlap() ? new OwnListeners() : undefined;
