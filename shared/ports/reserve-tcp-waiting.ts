import type { Socket } from 'node:net';
import type { Logger } from '../logger.ts';
import type { StreamReservation } from './reservation.ts';
import { reserveTcp } from './reserve-tcp.ts';

/** A TCP port on node:net that clients are refused at while it does not listen, which is from its beginning on. */
export interface WaitingReservation extends StreamReservation {
  /** Node has no socket that is bound and does not listen: others can take the port while it refuses. */
  readonly held: false;
  /** @throws BridgeError PORT_IN_USE when somebody else has taken the port, and others as reserveTcp */
  listen(): Promise<void>;
  refuse(): void;
}

/** Finds out that a port can be had, and leaves it closed. @throws BridgeError as reserveTcp does */
export async function reserveTcpWaiting(request: {
  readonly ip: string;
  readonly port: number;
  readonly log?: Logger;
}): Promise<WaitingReservation> {
  const first = await reserveTcp(request);
  await first.close();
  const { port } = first;
  let open: StreamReservation | undefined;
  let onClient: ((socket: Socket) => void) | undefined;
  let closed = false;
  const refuse = (): void => {
    void open?.close();
    open = undefined;
  };
  return {
    port,
    held: false,
    start(callee) {
      onClient = callee;
      open?.start(callee);
    },
    async listen() {
      if (open !== undefined) return;
      const taken = await reserveTcp({ ...request, port });
      if (closed) return taken.close();
      open = taken;
      if (onClient !== undefined) taken.start(onClient);
    },
    refuse,
    async close() {
      closed = true;
      refuse();
    },
  };
}
