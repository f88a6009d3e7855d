/**
 * The VM end of a UDP forward: each flow has a connected socket of its own towards the container, so that the
 * kernel drops strangers' datagrams and a closed container port harms no other flow.
 */
import { createSocket, type Socket } from 'node:dgram';
import type { UdpDestination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import { Limit } from '../../shared/limit.ts';
import { allowWholeDatagrams } from '../../shared/ports/whole-datagrams.ts';
import { DatagramStream, flowCodec, u16Codec } from '../../shared/relay/datagram-stream.ts';
import type { End } from '../../shared/relay/end.ts';
import { type Flow, FlowTable, sweepMs, targetIdleMs } from '../../shared/relay/udp-flows.ts';
import type { FlowFrame, U16Frame } from '../../shared/relay/udp-frame.ts';
import type { Incoming, IncomingContext } from './incoming.ts';

/** Flows of one stream; the host has the same limit for a forward, and ends the idlest first. */
const MAX_FLOWS = 1_024;
/** Datagrams of one flow held while its socket is being connected. */
const MAX_HELD = 64;

const NOTHING = Buffer.alloc(0);

/** Serves one stream of datagrams until it ends; gives back the place that the caller took in the limit. */
export function serveDatagrams(
  end: End,
  destination: UdpDestination,
  { udpFlows, flowIdle }: Incoming,
  context: IncomingContext,
): void {
  end.accept();
  const exits = new Exits(destination, flowIdle, context);
  const running = { stop: () => stream.close() };
  const closed = (): void => {
    context.running.delete(running);
    exits.close();
    context.limit.give();
  };
  context.running.add(running);
  const stream = udpFlows ? flowStream(end, exits, closed) : legacyStream(end, exits, closed);
}

function flowStream(end: End, exits: Exits, closed: () => void): DatagramStream<FlowFrame> {
  const stream: DatagramStream<FlowFrame> = new DatagramStream(end, flowCodec(), {
    frame: ({ flow, ended, payload }) => {
      if (ended) exits.end(`${flow}`);
      else
        exits.send(`${flow}`, payload, {
          answer: (answer) => stream.send({ flow, ended: false, addresses: undefined, payload: answer }),
          ended: () => stream.send({ flow, ended: true, addresses: undefined, payload: NOTHING }),
        });
    },
    closed,
  });
  return stream;
}

/** vpnkit: the frame's address is the flow, and is echoed; its Go side leaves it empty. */
function legacyStream(end: End, exits: Exits, closed: () => void): DatagramStream<U16Frame> {
  const stream: DatagramStream<U16Frame> = new DatagramStream(end, u16Codec(), {
    frame: ({ ip, port, zone, payload }) => {
      const client = Buffer.from(ip);
      exits.send(`${ip.toString('hex')} ${port} ${zone}`, payload, {
        answer: (answer) => stream.send({ ip: client, port, zone, payload: answer }),
        ended() {},
      });
    },
    closed,
  });
  return stream;
}

interface Reply {
  answer(payload: Buffer): void;
  ended(): void;
}

interface Exit {
  readonly socket: Socket;
  readonly reply: Reply;
  /** Datagrams that wait for the socket; undefined once it is connected. */
  held: Buffer[] | undefined;
}

/** No flow is made because the shim carries its most connections; its datagram is dropped. */
const FULL = new BridgeError('LIMIT_REACHED', 'no more UDP flows');

/** The sockets of one stream's flows. */
class Exits {
  private readonly destination: UdpDestination;
  private readonly flows: FlowTable<Exit>;
  private readonly limit: Limit;
  private readonly context: IncomingContext;
  private readonly sweeper: NodeJS.Timeout;

  constructor(destination: UdpDestination, flowIdle: number | undefined, context: IncomingContext) {
    this.destination = destination;
    this.context = context;
    this.flows = new FlowTable({
      max: MAX_FLOWS,
      idleMs: targetIdleMs(flowIdle),
      now: () => performance.now(),
    });
    this.limit = new Limit(`UDP flows to ${destination.ip}:${destination.port}`, MAX_FLOWS, context.log);
    this.sweeper = setInterval(() => {
      for (const flow of this.flows.sweep()) this.finish(flow);
    }, sweepMs(this.flows.idleMs));
    this.sweeper.unref();
  }

  send(key: string, payload: Buffer, reply: Reply): void {
    const touched = this.touch(key, reply);
    if (touched === undefined) return;
    const { flow, evicted } = touched;
    if (evicted !== undefined) {
      this.limit.refuse();
      this.finish(evicted);
    }
    const { held, socket } = flow.value;
    if (held === undefined) socket.send(payload, ignoreSendError);
    else if (held.length < MAX_HELD) held.push(Buffer.from(payload));
  }

  /** The host has ended a flow. */
  end(key: string): void {
    const flow = this.flows.deleteByKey(key);
    if (flow !== undefined) this.release(flow);
  }

  close(): void {
    clearInterval(this.sweeper);
    for (const flow of this.flows.clear()) this.release(flow);
  }

  /** A flow's socket counts as a connection, so that flows cannot use up the descriptors of those. */
  private touch(key: string, reply: Reply): ReturnType<FlowTable<Exit>['touchByKey']> | undefined {
    const { limit } = this.context;
    try {
      return this.flows.touchByKey(key, (id) => {
        if (!limit.take()) throw FULL;
        return this.open(id, reply);
      });
    } catch (error) {
      if (error === FULL) return undefined;
      throw error;
    }
  }

  private finish(flow: Flow<Exit>): void {
    flow.value.reply.ended();
    this.release(flow);
  }

  private release(flow: Flow<Exit>): void {
    flow.value.socket.close();
    this.context.limit.give();
  }

  private open(id: number, reply: Reply): Exit {
    const { ip, port } = this.destination;
    const socket = createSocket({ type: ip.includes(':') ? 'udp6' : 'udp4' });
    const exit: Exit = { socket, reply, held: [] };
    socket.on('message', (payload) => {
      if (this.flows.touchById(id) !== undefined) reply.answer(payload);
    });
    // ECONNREFUSED comes here when the container's port is closed: the flow waits for it to open again.
    socket.on('error', (error) => this.context.log.debug(`UDP flow to ${ip}:${port}: ${error.message}`));
    socket.connect(port, ip, (error?: Error | null) => {
      if (exit.held === undefined || this.flows.touchById(id) === undefined) return; // ended meanwhile
      const held = exit.held;
      exit.held = undefined;
      if (error) {
        this.context.log.info(`cannot send datagrams to ${ip}:${port}: ${error.message}`);
        const flow = this.flows.delete(id);
        if (flow !== undefined) this.finish(flow);
        return;
      }
      allowWholeDatagrams(socket);
      for (const payload of held) socket.send(payload, ignoreSendError);
    });
    return exit;
  }
}

/** A datagram that the system did not take is lost, as UDP may lose it anywhere. */
function ignoreSendError(): void {}
