import type { Socket } from 'node:net';
import { Limit } from '../limit.ts';
import type { Logger } from '../logger.ts';

/** Node accepts as soon as it listens, so clients that come before anybody serves them wait here. */
const MAX_HELD = 128;

/** Clients that were accepted between a reservation and its start: held unread, in order, none of them forgotten. */
export class HeldClients {
  private readonly waiting = new Map<Socket, () => void>();
  private readonly limit: Limit;

  /** @param name of the port, for the log */
  constructor(name: string, log: Logger | undefined) {
    this.limit = new Limit(`clients held for ${name}`, MAX_HELD, log);
  }

  /** Clients reset because 128 were waiting already. */
  get turnedAway(): number {
    return this.limit.refused;
  }

  /** Keeps a paused socket. It leaves by itself when its client goes. */
  hold(socket: Socket): void {
    if (!this.limit.take()) {
      drop(socket);
      return;
    }
    const onError = () => {}; // Without a listener a reset client would end the process; 'close' follows.
    const onClose = () => letGo();
    const letGo = () => {
      socket.off('error', onError).off('close', onClose);
      this.waiting.delete(socket);
      this.limit.give();
    };
    socket.on('error', onError).on('close', onClose);
    this.waiting.set(socket, letGo);
  }

  /** Hands all over, first come first; from then on the callee owns them. */
  handOver(onClient: (socket: Socket) => void): void {
    for (const [socket, letGo] of [...this.waiting]) {
      letGo();
      if (!socket.destroyed) onClient(socket);
    }
  }

  /** Resets all that still wait. */
  dropAll(): void {
    for (const [socket, letGo] of [...this.waiting]) {
      letGo();
      drop(socket);
    }
  }
}

/** A reset tells a TCP client that nobody served it; unix sockets have none, and Node refuses to try. */
function drop(socket: Socket): void {
  socket.on('error', () => {});
  if (socket.remoteFamily === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
