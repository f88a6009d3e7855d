import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import type { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import { Connection } from '../../shared/relay/connection.ts';
import { type End, NOBODY } from '../../shared/relay/end.ts';
import { PLAIN_SOCKET, StreamEnd } from '../../shared/relay/stream-end.ts';
import type { StreamDetails } from '../../shared/stream-details.ts';
import { dialDestination } from '../../shared/transport/dial-destination.ts';
import type { AllowedDestinations } from './allowed-destinations.ts';
import { serveDatagrams } from './udp-exit.ts';

/** A connection that the host agent wants carried to a container, on whichever lane it came. */
export interface Incoming extends StreamDetails {
  readonly destination: Destination;
  /** The tunnel to the host; not answered yet. */
  readonly end: End;
  /** UDP only: our frames with flow ids; otherwise vpnkit's. */
  readonly udpFlows: boolean;
}

export interface IncomingContext {
  /** Connections and UDP streams at once, of all links. */
  readonly limit: Limit;
  readonly log: Logger;
  /** All where it is left out. */
  readonly allowed?: AllowedDestinations;
  readonly counters: { bytesUp: number; bytesDown: number };
  /** Everything that runs, so that the shim can end it when it stops. */
  readonly running: Set<Stoppable>;
}

export interface Stoppable {
  /** Ends it at once, both sides by a reset. */
  stop(reason: BridgeError): void;
}

/** Carries one connection until both its ends are closed. */
export function serveIncoming(incoming: Incoming, context: IncomingContext): void {
  const { end } = incoming;
  const { limit, running } = context;
  let { destination } = incoming;
  try {
    destination = context.allowed?.admit(destination) ?? destination;
  } catch (error) {
    return refuse(end, error as BridgeError);
  }
  const counted = limit.take();
  if (destination.protocol === 'udp') {
    if (counted) return serveDatagrams(end, destination, incoming, context);
    return refuse(end, fullError(limit));
  }
  const dial = new AbortController();
  const connection = new Connection(end, {
    counters: context.counters,
    cancelDial: () => dial.abort(),
    closed: () => {
      running.delete(connection);
      if (counted) limit.give();
    },
  });
  if (!counted) return connection.limit(fullError(limit));
  running.add(connection);
  dialDestination(destination, dial.signal, incoming.keepalive).then(
    (socket) => connection.dialled(new StreamEnd(socket, PLAIN_SOCKET)),
    (error: BridgeError) => {
      context.log.debug({ code: error.code, client: incoming.client }, error.message);
      connection.dialFailed(error);
    },
  );
}

/** Says no at once, for an end that gets no connection. */
function refuse(end: End, reason: BridgeError): void {
  end.attach(NOBODY);
  end.refuse(reason);
}

function fullError(limit: Limit): BridgeError {
  return new BridgeError('LIMIT_REACHED', `the VM shim carries its most connections (${limit.max})`);
}
