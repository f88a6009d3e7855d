import type { Socket } from 'node:net';
import { BridgeError } from '../errors.ts';
import { formatEndpoint } from '../ip.ts';
import { portInUse } from './bind-error.ts';
import type { LookAround } from './other-listeners.ts';
import type { StreamReservation } from './reservation.ts';
import { reserveTcp } from './reserve-tcp.ts';
import type { TcpRequest, WildcardPorts } from './wildcard-ports.ts';

/** What is waited at just now, so that at least nobody else of this process takes it. */
const waitedAt = new Set<string>();

/** A TCP port on node:net that clients are refused at while it does not listen, which is from its beginning on. */
export interface WaitingReservation extends StreamReservation {
  /** Node has no socket that is bound and does not listen: others can take the port while it refuses. */
  readonly held: false;
  /** @throws BridgeError PORT_IN_USE when somebody else has taken the port, and others as reserveTcp */
  listen(): Promise<void>;
  refuse(): void;
}

/** Refuses a port that somebody of this process waits at without holding it. @throws BridgeError PORT_IN_USE */
export function refuseWaitedAt({ ip, port }: { readonly ip: string; readonly port: number }): void {
  const name = formatEndpoint(ip, port);
  if (waitedAt.has(name))
    throw new BridgeError('PORT_IN_USE', `Bind for ${name} failed: port is already allocated`);
}

/**
 * Finds out that a port can be had, and leaves it closed.
 * @param request.lookAround tells before each later listening whether others have it
 * @throws BridgeError as reserveTcp does
 */
export async function reserveTcpWaiting(
  request: TcpRequest & {
    readonly wildcard?: WildcardPorts | undefined;
    readonly lookAround?: LookAround | undefined;
  },
): Promise<WaitingReservation> {
  refuseWaitedAt(request);
  const first = await reserveTcp(request);
  await first.close();
  const { port } = first;
  refuseWaitedAt({ ...request, port });
  let open: StreamReservation | undefined;
  let onClient: ((socket: Socket) => void) | undefined;
  let closed = false;
  const name = formatEndpoint(request.ip, port);
  waitedAt.add(name);
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
      const { ip, lookAround } = request;
      if (lookAround !== undefined && (await lookAround()).has({ ip, port }))
        throw portInUse({ protocol: 'tcp', ip, port });
      const taken = await reserveTcp({ ...request, port });
      if (closed) return taken.close();
      open = taken;
      if (onClient !== undefined) taken.start(onClient);
    },
    refuse,
    async close() {
      if (!closed) waitedAt.delete(name);
      closed = true;
      refuse();
    },
  };
}
