import type { Destination } from '../../shared/destination.ts';
import type { ForwardOptions } from '../../shared/forward-options.ts';
import type { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import type { BoundPort } from '../../shared/ports/bind-all.ts';
import type { Endpoint } from '../../shared/ports/endpoints.ts';
import type { LookAround } from '../../shared/ports/other-listeners.ts';
import { reserveTcp } from '../../shared/ports/reserve-tcp.ts';
import { refuseWaitedAt, reserveTcpWaiting } from '../../shared/ports/reserve-tcp-waiting.ts';
import { reserveUdp } from '../../shared/ports/reserve-udp.ts';
import type { WildcardPorts } from '../../shared/ports/wildcard-ports.ts';
import type { DataLimits, Forward } from './forward.ts';
import type { HostEngine } from './linux/host-engine.ts';
import { StreamForward } from './stream-forward.ts';
import type { LinkSource } from './tunnel.ts';
import { UdpForward } from './udp-forward.ts';

/** What serving a host port takes. */
export interface ServeOptions {
  readonly vm: string;
  /** Of this port, for logs. */
  readonly name: string;
  readonly destination: Destination;
  readonly settings: ForwardOptions;
  readonly links: LinkSource;
  readonly limits: DataLimits;
  /** Counts the connections of all ports of a forward. */
  readonly limit: Limit;
  readonly log: Logger;
  /** Told when the `state` of the forward is another one. */
  readonly onState?: (() => void) | undefined;
}

/** What taking a host port takes. */
export interface BindOptions {
  readonly engine: HostEngine | undefined;
  readonly settings: ForwardOptions;
  readonly log: Logger;
  /** Takes TCP ports that are denied at one address only, on the portable engine. */
  readonly wildcard: WildcardPorts | undefined;
  /** Where the system would let us take TCP ports that others have: for those that are taken again and again. */
  readonly lookAround: LookAround | undefined;
}

/** A TCP or UDP port of the host that is bound and answers nobody yet. */
export interface HostPort extends BoundPort {
  /** Lets clients in; the port is the forward's from now on. */
  serve(options: ServeOptions): Forward;
}

/**
 * Takes a port, on the engine where there is one, else on this thread.
 * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED or IO
 */
export async function bindHostPort(
  { protocol, ip, port }: Endpoint,
  { engine, settings, log, wildcard, lookAround }: BindOptions,
): Promise<HostPort> {
  const where = { ip, port, log };
  if (engine !== undefined)
    return protocol === 'tcp' ? bindTcp(engine, { settings, ...where }) : bindUdp(engine, where);
  if (protocol === 'tcp') {
    refuseWaitedAt(where);
    const request = { wildcard, lookAround, ...where };
    const waitingPort = settings.wait === undefined ? undefined : await reserveTcpWaiting(request);
    const reservation = waitingPort ?? (await reserveTcp(request));
    const waiting = waitingPort === undefined ? {} : { waitingPort };
    return {
      serve: (options) => {
        const { newConnections } = options.limits;
        return new StreamForward({ reservation, newConnections, ...waiting, ...options });
      },
      release: () => reservation.close(),
    };
  }
  const reservation = await reserveUdp(where);
  return {
    serve: (options) => new UdpForward({ reservation, ...options }),
    release: () => reservation.close(),
  };
}

function bindTcp(engine: HostEngine, request: Parameters<HostEngine['listenTcp']>[0]): HostPort {
  const listener = engine.listenTcp(request);
  return {
    serve: (options) => engine.serve(listener, options),
    release: async () => engine.closeDescriptor(listener.fd),
  };
}

function bindUdp(engine: HostEngine, request: { ip: string; port: number }): HostPort {
  const bound = engine.datagrams.bind(request);
  return {
    serve: (options) => engine.datagrams.serve(bound, options),
    release: async () => engine.closeDescriptor(bound.fd),
  };
}
