/**
 * The forwards that were asked for through gvproxy's API. They belong to this process: they end when it does, as those of
 * a gvproxy do. What is ended on the host is forgotten here, so that it can be asked for again.
 */
import { BridgeError } from '../../shared/errors.ts';
import { canonicalIp, formatEndpoint } from '../../shared/ip.ts';
import { formatSpec, onePortSpec } from '../../shared/port-spec.ts';
import type { PortClaim, PortDoor } from '../../shared/portfs/door.ts';

/** A forward as gvproxy lists it: `local` and `remote` as they were asked for, `:8080` made out. */
export interface GatewayForward {
  readonly local: string;
  readonly remote: string;
  readonly protocol: string;
}

export class GatewayForwards {
  private readonly door: PortDoor;
  private readonly signal: AbortSignal;
  private readonly forwards = new Map<string, GatewayForward & { readonly claim: Promise<PortClaim> }>();

  /** @param signal ends requests that are under way */
  constructor(door: PortDoor, signal: AbortSignal) {
    this.door = door;
    this.signal = signal;
  }

  /**
   * @param caller address of who asks; a remote of `:8080` means a port there
   * @throws BridgeError BAD_REQUEST, ALREADY_EXISTS, REFUSED; what the host agent says
   */
  async expose(request: unknown, caller: string): Promise<void> {
    const protocol = takeProtocol(request);
    const local = takeText(request, 'local');
    const host = takeEndpoint(local, 'local', '0.0.0.0', 0);
    const vm = takeEndpoint(takeText(request, 'remote'), 'remote', caller, 1);
    const key = `${protocol}/${local}`;
    if (this.forwards.has(key))
      throw new BridgeError('ALREADY_EXISTS', `proxy already running for ${protocol} on ${local}`);
    const ends = { hostIp: host.ip, hostPort: host.port, vmIp: vm.ip, vmPort: vm.port };
    const spec = formatSpec(onePortSpec({ protocol, ...ends }));
    const claim = this.door.claim(spec, this.signal);
    this.forwards.set(key, { local, remote: formatEndpoint(vm.ip, vm.port), protocol, claim });
    try {
      const { ended } = await claim;
      void ended?.then(() => {
        if (this.forwards.get(key)?.claim === claim) this.forwards.delete(key);
      });
    } catch (error) {
      this.forwards.delete(key);
      throw error;
    }
  }

  /** @throws BridgeError BAD_REQUEST; NOT_FOUND */
  async unexpose(request: unknown): Promise<void> {
    const protocol = takeProtocol(request);
    const local = takeText(request, 'local');
    const key = `${protocol}/${local}`;
    const forward = this.forwards.get(key);
    if (forward === undefined)
      throw new BridgeError('NOT_FOUND', `proxy not found: nothing was exposed for ${protocol} on ${local}`);
    const claim = await forward.claim;
    this.forwards.delete(key);
    await claim.release();
  }

  list(): GatewayForward[] {
    const all = [...this.forwards.values()].map(({ local, remote, protocol }) => ({
      local,
      remote,
      protocol,
    }));
    return all.sort((a, b) => compare(a.local, b.local) || compare(a.protocol, b.protocol));
  }
}

function takeProtocol(request: unknown): 'tcp' | 'udp' {
  const protocol = takeText(request, 'protocol', 'tcp');
  if (protocol === 'tcp' || protocol === 'udp') return protocol;
  throw new BridgeError('REFUSED', `protocol "${protocol}": portferry takes tcp and udp here`);
}

function takeText(request: unknown, field: string, absent?: string): string {
  const map = typeof request === 'object' && request !== null ? (request as Record<string, unknown>) : {};
  const value = map[field];
  if (typeof value === 'string' && value !== '') return value;
  if (absent !== undefined && (value === undefined || value === '')) return absent;
  throw new BridgeError('BAD_REQUEST', `"${field}" is missing, or no text`);
}

/** `IP:PORT`, `[IPv6]:PORT` or `:PORT`, as Go's net.SplitHostPort takes it. */
function takeEndpoint(
  text: string,
  field: string,
  absentIp: string,
  leastPort: number,
): { ip: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  const ip = canonicalIp(host === '' ? absentIp : host === 'localhost' ? '127.0.0.1' : host);
  if (match === null || ip === undefined || port > 65_535 || port < leastPort)
    throw new BridgeError('BAD_REQUEST', `"${field}": "${text}" is not IP:PORT`);
  return { ip, port };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
