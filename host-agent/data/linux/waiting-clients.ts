import { BridgeError } from '../../../shared/errors.ts';
import { giveAll, type Limit, takeAll } from '../../../shared/limit.ts';

export interface WaitingClientsOptions {
  /** Resolves when somebody can take clients. @throws BridgeError when nobody comes */
  readonly whenUp: (signal: AbortSignal) => Promise<unknown>;
  /** Those that wait count as connections. */
  readonly limits: readonly Limit[];
  /** Takes a client over. */
  readonly take: (fd: number) => void;
  /** Resets a client. */
  readonly reset: (fd: number, reason: BridgeError) => void;
}

/** Clients that were accepted while the link was down, as descriptors that nobody reads. */
export class WaitingClients {
  private readonly options: WaitingClientsOptions;
  /** There is one where somebody has waited: few forwards ever need it, and Node makes a signal even to abort one. */
  private cancel: AbortController | undefined;

  constructor(options: WaitingClientsOptions) {
    this.options = options;
  }

  /** Takes over a client's descriptor. */
  async add(fd: number): Promise<void> {
    const { whenUp, limits, take, reset } = this.options;
    if (!takeAll(limits)) return reset(fd, new BridgeError('LIMIT_REACHED', 'too many connections'));
    this.cancel ??= new AbortController();
    try {
      await whenUp(this.cancel.signal);
    } catch (error) {
      giveAll(limits);
      const reason = error instanceof BridgeError ? error : new BridgeError('IO', 'internal error');
      return reset(fd, reason);
    }
    giveAll(limits);
    take(fd);
  }

  /** Resets all of them; nobody comes any more. */
  close(): void {
    this.cancel?.abort();
  }
}
