/**
 * `wait=listening`: the host port refuses clients while its container's port is closed, so that an open port means a
 * service that is up. The container is dialled again and again only while it refuses; once it has accepted, a client
 * whose dial fails is what tells that it is gone.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BridgeError, ERRNO } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ActiveLink, LinkSource } from './tunnel.ts';

const FIRST_DELAY_MS = 50;
const MAX_DELAY_MS = 1_000;
/** Where many forwards wait, each waits longer: all together dial no more than 100 times a second. */
const DELAY_PER_WAITING_MS = 10;
/** Of all forwards, at once; who finds no room tries again later. */
const MAX_PROBES = 64;

let waiting = 0;
let probes = 0;

/** A host port that can refuse clients without being given up. */
export interface BackendPort {
  /** Whether nobody else can take the port while it refuses. */
  readonly held: boolean;
  /** Takes clients from now on. @throws BridgeError when the port cannot be had */
  listen(): void | Promise<void>;
  /** Refuses them from now on. */
  refuse(): void;
}

export interface BackendWatchOptions {
  readonly name: string;
  readonly port: BackendPort;
  readonly links: LinkSource;
  /** Dials the container, and lets it go at once. @throws BridgeError UNSUPPORTED where nobody can tell; why it failed */
  readonly probe: (active: ActiveLink, signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
  /** Told when `state` is another one. */
  readonly onState?: (() => void) | undefined;
}

export class BackendWatch {
  private readonly options: BackendWatchOptions;
  private readonly cancel = new AbortController();
  private listening = false;
  private lastError = '';

  /** Begins to wait; the port refuses already. */
  constructor(options: BackendWatchOptions) {
    this.options = options;
    void this.wait();
  }

  /** For `portferry list`. */
  get state(): string {
    if (this.listening) return 'listening';
    return this.options.port.held ? 'waiting' : 'waiting, port not held';
  }

  /** A client's dial has failed. @param errno why */
  dialFailed(errno: number): void {
    if (!this.listening || !isUnreachable(errno) || this.cancel.signal.aborted) return;
    this.listening = false;
    this.options.port.refuse();
    this.options.onState?.();
    void this.wait();
  }

  close(): void {
    this.cancel.abort();
  }

  private async wait(): Promise<void> {
    const { name, log, port } = this.options;
    const { signal } = this.cancel;
    const meanwhile = port.held ? '' : ', and is not held: another program may take it';
    log.info({ forward: name }, `waiting for the container; the host port refuses clients${meanwhile}`);
    this.lastError = '';
    waiting++;
    try {
      for (let ms = FIRST_DELAY_MS; !(await this.succeeds(signal)); ms *= 2) {
        const longest = Math.max(MAX_DELAY_MS, waiting * DELAY_PER_WAITING_MS);
        ms = Math.min(ms, longest);
        await delay(ms, undefined, { signal, ref: false });
      }
      this.listening = true;
      this.options.onState?.();
      log.info({ forward: name }, 'the container listens, and so does the host port');
    } catch (error) {
      if (!signal.aborted) log.error({ forward: name, err: error }, 'waiting for the container ended');
    } finally {
      waiting--;
    }
  }

  /** @returns whether the host port takes clients now */
  private async succeeds(signal: AbortSignal): Promise<boolean> {
    const { links, port, probe } = this.options;
    try {
      const active = await links.whenUp(signal);
      if (probes >= MAX_PROBES) return false;
      probes++;
      try {
        await probe(active, signal);
      } catch (error) {
        if (!(error instanceof BridgeError) || error.code !== 'UNSUPPORTED') throw error;
        this.tell('warn', error);
      } finally {
        probes--;
      }
      signal.throwIfAborted();
      await port.listen();
      signal.throwIfAborted();
      return true;
    } catch (error) {
      signal.throwIfAborted();
      const known =
        error instanceof BridgeError ? error : new BridgeError('IO', 'internal error', { cause: error });
      this.tell(known.code === 'PORT_IN_USE' ? 'warn' : 'debug', known);
      return false;
    }
  }

  /** Says the same thing once. */
  private tell(level: 'warn' | 'debug', { code, message }: BridgeError): void {
    if (message === this.lastError) return;
    this.lastError = message;
    this.options.log[level]({ forward: this.options.name, code }, `still waiting: ${message}`);
  }
}

const UNREACHABLE: ReadonlySet<number> = new Set([
  ERRNO.ECONNREFUSED,
  ERRNO.ETIMEDOUT,
  ERRNO.EHOSTUNREACH,
  ERRNO.ENETUNREACH,
]);

/** Whether a dial that failed like that says that the container is not there, and not that something else ran out. */
export function isUnreachable(errno: number): boolean {
  return UNREACHABLE.has(errno);
}
