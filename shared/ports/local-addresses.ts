import { networkInterfaces } from 'node:os';
import { isLinkLocal } from '../ip.ts';
import { zoneKind } from './choose.ts';

/** The addresses of this machine, and what comes and goes among them. */

/** Lists the addresses that are there now. */
export type AddressSource = () => string[];

type Interfaces = ReturnType<typeof networkInterfaces>;

const DEFAULT_INTERVAL_MS = 2_000;

/**
 * Addresses of one family on the interfaces that are up, canonical and each once.
 * @param zone how a link-local address names its interface
 * @param interfaces for tests
 */
export function localAddresses(
  family: 4 | 6,
  zone = zoneKind(),
  interfaces: () => Interfaces = networkInterfaces,
): string[] {
  const found = new Set<string>();
  for (const [name, addresses] of Object.entries(interfaces())) {
    for (const { address, family: itsFamily, ...rest } of addresses ?? []) {
      if (itsFamily !== `IPv${family}`) continue;
      const scope = zone === 'name' ? name : ('scopeid' in rest && rest.scopeid) || name;
      found.add(isLinkLocal(address) ? `${address}%${scope}` : address);
    }
  }
  return [...found];
}

export interface AddressFollower {
  /** Looks now. */
  poll(): void;
  /** Calls nobody any more. */
  stop(): void;
}

/**
 * Watches a list of addresses by asking for it again and again: no portable notice of a change exists. Does not keep
 * the process alive.
 * @param options.known addresses that the caller has already
 * @param options.added answers whether the caller has it now; if not, the next poll offers it again
 * @param options.intervalMs milliseconds between polls
 */
export function followAddresses(options: {
  readonly source: AddressSource;
  readonly known: Iterable<string>;
  readonly added: (address: string) => Promise<boolean>;
  readonly removed: (address: string) => void;
  readonly intervalMs?: number;
}): AddressFollower {
  const { source, added, removed } = options;
  const known = new Set(options.known);
  const asked = new Set<string>();
  let stopped = false;

  const offer = async (address: string): Promise<void> => {
    asked.add(address);
    try {
      if (await added(address)) known.add(address);
    } finally {
      asked.delete(address);
    }
  };
  const poll = (): void => {
    if (stopped) return;
    const now = readSource(source);
    if (now === undefined) return;
    for (const address of known) {
      if (now.has(address)) continue;
      known.delete(address);
      removed(address);
    }
    for (const address of now) {
      if (!known.has(address) && !asked.has(address)) offer(address).catch(() => undefined);
    }
  };

  const timer = setInterval(poll, options.intervalMs ?? DEFAULT_INTERVAL_MS);
  timer.unref();
  return {
    poll,
    stop() {
      stopped = true;
      clearInterval(timer);
    },
  };
}

/** A system that cannot list its interfaces for a moment has not lost them. */
function readSource(source: AddressSource): Set<string> | undefined {
  try {
    return new Set(source());
  } catch {
    return undefined;
  }
}
