import { letsTcpOverlap, portDiagnosis } from './diagnosis/choose.ts';
import type { TcpListener } from './diagnosis/diagnosis.ts';
import { overlaps } from './diagnosis/overlap.ts';

/** How long a look is good for, milliseconds: requests that come together, or try port after port, share one. */
const FRESH_MS = 250;

/** The TCP listeners of other processes at one moment, as far as the system told. */
export class OtherListeners {
  private readonly ipsOf = new Map<number, string[]>();

  /** @param pid whose own listeners are left out */
  constructor(listeners: readonly TcpListener[], pid: number = process.pid) {
    for (const each of listeners) {
      if (each.pid === pid) continue;
      const ips = this.ipsOf.get(each.port);
      if (ips === undefined) this.ipsOf.set(each.port, [each.ip]);
      else ips.push(each.ip);
    }
  }

  /** Whether one of them has what is wanted: the port at this address, at all, or at one of all that are wanted. */
  has({ ip, port }: { readonly ip: string; readonly port: number }): boolean {
    return this.ipsOf.get(port)?.some((held) => overlaps(ip, held)) ?? false;
  }
}

/** Looks who listens. Never fails: what the system does not say is nobody. */
export type LookAround = () => Promise<OtherListeners>;

/**
 * The way to look before TCP ports are bound, where the system itself does not refuse one that somebody has.
 * @returns undefined where it does
 * @param options for tests
 */
export function tcpLookAround(
  options: { readonly platform?: NodeJS.Platform; readonly freshMs?: number } = {},
): LookAround | undefined {
  const { platform, freshMs = FRESH_MS } = options;
  if (!letsTcpOverlap(platform)) return undefined;
  let last: { readonly found: Promise<OtherListeners>; until: number } | undefined;
  return () => {
    if (last !== undefined && performance.now() < last.until) return last.found;
    const look = { found: listOthers(platform), until: Number.POSITIVE_INFINITY };
    void look.found.then(() => {
      look.until = performance.now() + freshMs;
    });
    last = look;
    return look.found;
  };
}

async function listOthers(platform: NodeJS.Platform | undefined): Promise<OtherListeners> {
  try {
    const { tcpListeners } = await portDiagnosis(platform);
    return new OtherListeners((await tcpListeners?.()) ?? []);
  } catch {
    return new OtherListeners([]);
  }
}
