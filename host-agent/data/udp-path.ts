/**
 * How the datagrams of one UDP forward reach the shim. Between two portferries one stream carries all flows
 * (`udp-flows`); towards a vpnkit each flow has a channel of its own with u16 frames and no address.
 */
import type { Destination } from '../../shared/destination.ts';
import { DatagramStream, flowCodec, u16Codec } from '../../shared/relay/datagram-stream.ts';
import type { FlowFrame, U16Frame } from '../../shared/relay/udp-frame.ts';
import { type ActiveLink, openTunnel } from './tunnel.ts';

export type FlowAddresses = NonNullable<FlowFrame['addresses']>;

export interface UdpTarget {
  readonly destination: Destination;
  /** Silence after which a flow is over, seconds; undefined for what is usual. */
  readonly flowIdle: number | undefined;
}

export interface UdpPathHandler {
  /** An answer for the client of a flow. */
  answer(flow: number, payload: Buffer): void;
  /** The shim has ended a flow. */
  flowEnded(flow: number): void;
  /** The path is over; the next datagram needs a new one. */
  closed(): void;
}

export interface UdpPath {
  /** @returns false when the datagram was dropped */
  send(flow: number, addresses: FlowAddresses, payload: Buffer): boolean;
  endFlow(flow: number): void;
  close(): void;
}

const NOTHING = Buffer.alloc(0);

/** @throws BridgeError as openTunnel does */
export async function openUdpPath(
  active: ActiveLink,
  target: UdpTarget,
  signal: AbortSignal,
  handler: UdpPathHandler,
): Promise<UdpPath> {
  if (!active.link.has('udp-flows')) return new ChannelPerFlow(active, target.destination, signal, handler);
  const end = await openTunnel(active, { ...target, signal });
  const stream = new DatagramStream<FlowFrame>(end, flowCodec(), {
    frame: ({ flow, ended, payload }) => (ended ? handler.flowEnded(flow) : handler.answer(flow, payload)),
    closed: () => handler.closed(),
  });
  return {
    send: (flow, addresses, payload) => stream.send({ flow, ended: false, addresses, payload }),
    endFlow: (flow) => void stream.send({ flow, ended: true, addresses: undefined, payload: NOTHING }),
    close: () => stream.close(),
  };
}

/** Datagrams that a flow may hold while its channel is being opened. */
const MAX_HELD = 16;

class ChannelPerFlow implements UdpPath {
  private readonly active: ActiveLink;
  private readonly destination: Destination;
  private readonly signal: AbortSignal;
  private readonly handler: UdpPathHandler;
  private readonly flows = new Map<number, { stream?: DatagramStream<U16Frame>; held: Buffer[] }>();

  constructor(active: ActiveLink, destination: Destination, signal: AbortSignal, handler: UdpPathHandler) {
    this.active = active;
    this.destination = destination;
    this.signal = signal;
    this.handler = handler;
    void active.link.closed.then(() => handler.closed());
  }

  send(flow: number, _addresses: FlowAddresses, payload: Buffer): boolean {
    const known = this.flows.get(flow);
    if (known?.stream !== undefined) return known.stream.send(frameOf(payload));
    if (known !== undefined) {
      if (known.held.length >= MAX_HELD) return false;
      known.held.push(payload);
      return true;
    }
    this.flows.set(flow, { held: [payload] });
    void this.open(flow);
    return true;
  }

  endFlow(flow: number): void {
    const known = this.flows.get(flow);
    this.flows.delete(flow);
    known?.stream?.close();
  }

  close(): void {
    for (const flow of [...this.flows.keys()]) this.endFlow(flow);
  }

  private async open(flow: number): Promise<void> {
    try {
      const { destination, signal } = this;
      const end = await openTunnel(this.active, { destination, signal });
      const stream = new DatagramStream<U16Frame>(end, u16Codec(), {
        frame: ({ payload }) => this.handler.answer(flow, payload),
        closed: () => {
          if (this.flows.get(flow)?.stream === stream) this.flows.delete(flow);
        },
      });
      const known = this.flows.get(flow);
      if (known === undefined) return stream.close();
      known.stream = stream;
      for (const payload of known.held.splice(0)) stream.send(frameOf(payload));
    } catch {
      this.flows.delete(flow); // dropped like datagrams of any full or broken link
    }
  }
}

function frameOf(payload: Buffer): U16Frame {
  return { ip: NOTHING, port: 0, zone: '', payload };
}
