/**
 * A port or unix socket of the VM that is one end of a reverse forward: each client is joined to a channel of the link,
 * which the host agent joins to a service of the host.
 */
import type { Socket } from 'node:net';
import { BridgeError } from '../../shared/errors.ts';
import type { Limit } from '../../shared/limit.ts';
import type { Link } from '../../shared/link/link.ts';
import type { LinkedSocket } from '../../shared/link/linked-socket.ts';
import { SharedCounters } from '../../shared/link/shared-counters.ts';
import type { Logger } from '../../shared/logger.ts';
import type { StreamReservation } from '../../shared/ports/reservation.ts';
import { reserveTcp } from '../../shared/ports/reserve-tcp.ts';
import { reserveUnix } from '../../shared/ports/reserve-unix.ts';
import { PLAIN_SOCKET } from '../../shared/relay/stream-end.ts';
import { formatReverseSpec, type Place, type ReverseSpec } from '../../shared/reverse-spec.ts';
import type { Stoppable } from './incoming.ts';

export interface ReverseEntryOptions {
  /** Connections at once, of the whole shim. */
  readonly limit: Limit;
  /** Everything that runs, so that the shim can end it when it stops. */
  readonly running: Set<Stoppable>;
  /** The link of its host agent, waiting a few seconds for one that is down. @throws BridgeError NO_LINK or CANCELLED */
  readonly whenUp: () => Promise<Pick<Link, 'connect'>>;
  /** The number that the host agent has for it, as long as that wants it. */
  readonly id: () => number;
  readonly log: Logger;
}

export class ReverseEntry {
  /** With its port resolved. */
  readonly spec: ReverseSpec;
  private readonly options: ReverseEntryOptions;
  private readonly reservation: StreamReservation;
  private readonly counters = new SharedCounters();

  private constructor(spec: ReverseSpec, reservation: StreamReservation, options: ReverseEntryOptions) {
    this.spec = spec;
    this.options = options;
    this.reservation = reservation;
    reservation.start((socket) => void this.serve(socket));
  }

  /** Begins to accept clients. @throws BridgeError as reserveTcp and reserveUnix do */
  static async open(spec: ReverseSpec, options: ReverseEntryOptions): Promise<ReverseEntry> {
    const { vm } = spec;
    const { log } = options;
    const reservation = await (vm.protocol === 'unix'
      ? reserveUnix({ path: vm.path, log })
      : reserveTcp({ ip: vm.ip, port: vm.port, log }));
    const place: Place = vm.protocol === 'unix' ? vm : { ...vm, port: reservation.port };
    return new ReverseEntry({ ...spec, vm: place }, reservation, options);
  }

  /** Lets nobody in any more; connections go on. */
  close(): Promise<void> {
    return this.reservation.close();
  }

  private async serve(socket: Socket): Promise<void> {
    const { limit, running, whenUp, id, log } = this.options;
    const forward = formatReverseSpec(this.spec);
    socket.on('error', () => {}); // it may go while it waits; whoever carries it then sees that
    const turnAway = (error: BridgeError): void => {
      log.info({ forward, code: error.code }, `a client was reset: ${error.message}`);
      PLAIN_SOCKET.abort(socket, error);
    };
    if (!limit.take())
      return turnAway(
        new BridgeError('LIMIT_REACHED', `the VM shim carries its most connections (${limit.max})`),
      );
    try {
      const link = await whenUp();
      const { remoteAddress: ip, remotePort: port } = socket;
      const client = ip === undefined || port === undefined ? undefined : { ip, port };
      const { host: destination } = this.spec;
      const details = { client, reverse: id() };
      const connection: LinkedSocket = link.connect(
        socket,
        { destination, details, where: 'on the host' },
        {
          counters: this.counters,
          closed: (error) => {
            running.delete(connection);
            limit.give();
            if (error !== undefined) log.debug({ forward, client, code: error.code }, error.message);
          },
        },
      );
      running.add(connection);
    } catch (error) {
      limit.give();
      turnAway(error as BridgeError);
    }
  }
}
