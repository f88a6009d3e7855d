import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import type { Limit } from '../../shared/limit.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ClientAddress } from '../../shared/preface.ts';
import { Connection } from '../../shared/relay/connection.ts';
import type { End } from '../../shared/relay/end.ts';
import { dialContainer } from './dialer.ts';
import { serveDatagrams } from './udp-exit.ts';

/** A connection that the host agent wants carried to a container, on whichever lane it came. */
export interface Incoming {
  readonly destination: Destination;
  readonly client: ClientAddress | undefined;
  /** The tunnel to the host; not answered yet. */
  readonly end: End;
  /** UDP only: our frames with flow ids; otherwise vpnkit's. */
  readonly udpFlows: boolean;
}

export interface IncomingContext {
  /** Connections and UDP streams at once, of all links. */
  readonly limit: Limit;
  readonly log: Logger;
  readonly counters: { bytesUp: number; bytesDown: number };
  /** Ends everything that runs. */
  readonly signal: AbortSignal;
}

/** Carries one connection until both its ends are closed. */
export function serveIncoming(incoming: Incoming, context: IncomingContext): void {
  const { destination, end } = incoming;
  const { limit } = context;
  const full = new BridgeError('LIMIT_REACHED', `the VM shim carries its most connections (${limit.max})`);
  if (destination.protocol === 'udp') {
    if (limit.take()) serveDatagrams(end, destination, incoming.udpFlows, context);
    else {
      end.attach({ data() {}, ended() {}, reset() {}, drained() {}, closed() {} });
      end.refuse(full);
    }
    return;
  }
  const dial = new AbortController();
  const stop = (): void => connection.stop(new BridgeError('CANCELLED', 'the VM shim is stopping'));
  const counted = limit.take();
  const connection = new Connection(end, {
    counters: context.counters,
    cancelDial: () => dial.abort(),
    closed: () => {
      context.signal.removeEventListener('abort', stop);
      if (counted) limit.give();
    },
  });
  if (!counted) {
    connection.limit(full);
    return;
  }
  context.signal.addEventListener('abort', stop, { once: true });
  dialContainer(destination, dial.signal).then(
    (target) => connection.dialled(target),
    (error: BridgeError) => {
      context.log.debug({ code: error.code, client: incoming.client }, error.message);
      connection.dialFailed(error);
    },
  );
}
