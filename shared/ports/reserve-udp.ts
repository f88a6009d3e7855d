import { messageOf, nodeErrno } from '../errors.ts';
import { formatEndpoint, isUnspecified } from '../ip.ts';
import type { Logger } from '../logger.ts';
import { bindError } from './bind-error.ts';
import {
  type AddressFollower,
  type AddressSource,
  followAddresses,
  localAddresses,
} from './local-addresses.ts';
import type { UdpLocal, UdpReservation } from './reservation.ts';
import { UdpLocalSocket } from './udp-local.ts';

/**
 * UDP ports of the host on node:dgram, for every system.
 *
 * An answer has to come from the address that was asked, or the client's kernel drops it; node:dgram cannot say which
 * one that was. So 0.0.0.0 and :: are not bound: every local address of the family is, each on a socket of its own at
 * one port, and they follow the interfaces. Broadcasts and multicasts to that port therefore do not arrive.
 */

/** A reservation on node:dgram, with what it counts. */
export interface PortableUdpReservation extends UdpReservation {
  /** How often an address could not be bound at a port that others have. */
  readonly bindErrors: number;
}

export interface UdpRequest {
  readonly ip: string;
  /** 0 takes any free one. */
  readonly port: number;
  readonly log?: Logger;
  /** The local addresses that stand for 0.0.0.0 or :: . */
  readonly addresses?: AddressSource;
  /** Milliseconds between looks at them; 2 s unless told. */
  readonly pollMs?: number;
}

/**
 * Takes a UDP port at one address, or at all of a family: all or none.
 * @throws BridgeError PORT_IN_USE, ADDRESS_NOT_AVAILABLE (also when the machine has none of the family),
 *   PERMISSION_DENIED or IO
 */
export async function reserveUdp(request: UdpRequest): Promise<PortableUdpReservation> {
  const { ip } = request;
  try {
    if (!isUnspecified(ip)) return new Reservation(request, [await UdpLocalSocket.bind(ip, request.port)]);
    const source = request.addresses ?? (() => localAddresses(ip.includes(':') ? 6 : 4));
    const reservation = new Reservation(request, await bindEach(source(), request.port));
    reservation.follow(source);
    return reservation;
  } catch (error) {
    throw bindError(error, { protocol: 'udp', ip, port: request.port });
  }
}

/** With port 0 the first address chooses. */
async function bindEach(addresses: readonly string[], port: number): Promise<UdpLocalSocket[]> {
  const bound: UdpLocalSocket[] = [];
  let missing: unknown = Object.assign(new Error('no address of this family'), { code: 'EADDRNOTAVAIL' });
  for (const address of addresses) {
    try {
      bound.push(await UdpLocalSocket.bind(address, bound[0]?.port ?? port));
    } catch (error) {
      // An address that has just left, or that IPv6 still checks for duplicates, is nobody's port: the follower gets it.
      if (nodeErrno(error) === 'EADDRNOTAVAIL') {
        missing = error;
        continue;
      }
      await Promise.all(bound.map((local) => local.close()));
      throw error;
    }
  }
  if (bound.length === 0) throw missing;
  return bound;
}

class Reservation implements PortableUdpReservation {
  readonly port: number;
  bindErrors = 0;
  private readonly byAddress: Map<string, UdpLocalSocket>;
  private readonly log: Logger | undefined;
  private readonly pollMs: number | undefined;
  /** Addresses whose failure is in the log already: polls are many. */
  private readonly told = new Set<string>();
  private readonly adding = new Set<Promise<boolean>>();
  private follower: AddressFollower | undefined;
  private onDatagram: Parameters<UdpReservation['start']>[0] | undefined;
  private onLocalGone: Parameters<UdpReservation['start']>[1] = () => {};
  private closing: Promise<void> | undefined;

  constructor(request: UdpRequest, bound: readonly UdpLocalSocket[]) {
    this.byAddress = new Map(bound.map((local) => [local.address, local]));
    this.port = bound[0]!.port;
    this.log = request.log;
    this.pollMs = request.pollMs;
  }

  get locals(): ReadonlyArray<UdpLocal> {
    return [...this.byAddress.values()];
  }

  follow(source: AddressSource): void {
    this.follower = followAddresses({
      source,
      known: this.byAddress.keys(),
      added: (address) => this.untilClosed(this.add(address)),
      removed: (address) => this.remove(address),
      ...(this.pollMs === undefined ? {} : { intervalMs: this.pollMs }),
    });
  }

  start(
    onDatagram: Parameters<UdpReservation['start']>[0],
    onLocalGone: Parameters<UdpReservation['start']>[1],
  ): void {
    if (this.closing !== undefined) return;
    this.onDatagram = onDatagram;
    this.onLocalGone = onLocalGone;
    for (const local of this.byAddress.values()) local.receive(onDatagram);
  }

  close(): Promise<void> {
    this.closing ??= this.freeAll();
    return this.closing;
  }

  private async freeAll(): Promise<void> {
    this.follower?.stop();
    const locals = [...this.byAddress.values()];
    this.byAddress.clear();
    await Promise.all([...locals.map((local) => local.close()), ...this.adding]);
  }

  /** Remembers a bind under way, whose socket close() has to wait for. */
  private untilClosed(add: Promise<boolean>): Promise<boolean> {
    this.adding.add(add);
    return add.finally(() => this.adding.delete(add));
  }

  private async add(address: string): Promise<boolean> {
    let local: UdpLocalSocket;
    try {
      local = await UdpLocalSocket.bind(address, this.port);
    } catch (error) {
      this.countBindError(address, error);
      return false;
    }
    if (this.closing !== undefined) {
      await local.close();
      return false;
    }
    this.told.delete(address);
    this.byAddress.set(address, local);
    if (this.onDatagram !== undefined) local.receive(this.onDatagram);
    return true;
  }

  private remove(address: string): void {
    const local = this.byAddress.get(address);
    if (local === undefined) return;
    this.byAddress.delete(address);
    void local.close();
    this.onLocalGone(local);
  }

  private countBindError(address: string, error: unknown): void {
    this.bindErrors++;
    if (this.told.has(address)) return;
    this.told.add(address);
    const where = formatEndpoint(address, this.port);
    const reason = nodeErrno(error) ?? messageOf(error);
    this.log?.warn(
      { err: error, address, port: this.port },
      `udp ${where} is not served: ${reason}; trying again`,
    );
  }
}
