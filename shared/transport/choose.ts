import { BridgeError, messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { TransportAddress } from './address.ts';
import type { Bridge } from './bridge.ts';
import type { HostEndAddress, VmEndAddress } from './link-address.ts';
import type { TransportTraits } from './transport.ts';

export const LANES = ['auto', 'dedicated', 'multiplexed'] as const;
export type LanePreference = (typeof LANES)[number];
export type Lane = 'dedicated' | 'multiplexed';

/** What the shim at the other end knows. */
export interface LanePeer {
  readonly dedicated: boolean;
  /** It opens dedicated streams itself when it is asked to. */
  readonly spares: boolean;
}

/**
 * Picks how connections travel. A dedicated stream needs a transport with many streams and half-close both ways, and a
 * peer that knows dedicated streams, and how to open them where only the VM can dial.
 * @returns the lane, and why it is not the dedicated one
 */
export function chooseLane(
  traits: TransportTraits,
  preference: LanePreference,
  peer: LanePeer,
): { lane: Lane; why: string } {
  if (preference === 'multiplexed') return { lane: 'multiplexed', why: 'asked for' };
  if (!traits.manyStreams) return { lane: 'multiplexed', why: 'the transport carries one stream only' };
  if (!traits.halfClose) return { lane: 'multiplexed', why: 'the transport has no half-close' };
  if (!peer.dedicated) return { lane: 'multiplexed', why: 'the peer knows no dedicated streams' };
  if (traits.whoDials === 'vm' && !peer.spares)
    return { lane: 'multiplexed', why: 'only the VM can open streams, and its shim does not know how' };
  return {
    lane: 'dedicated',
    why: preference === 'dedicated' ? 'asked for' : 'the transport is able to carry it',
  };
}

/**
 * Opens the bridge that some addresses need; it is the caller's to close.
 * @returns undefined where none of them does
 * @throws BridgeError UNSUPPORTED where it is needed and cannot be had, naming the URL
 */
export async function bridgeFor(
  addresses: readonly (TransportAddress | HostEndAddress | VmEndAddress)[],
  log: Logger,
): Promise<Bridge | undefined> {
  const needy = addresses.find(({ scheme }) => scheme === 'vsock' || scheme === 'serial');
  if (needy === undefined) return undefined;
  try {
    if (process.platform !== 'linux')
      throw new BridgeError('UNSUPPORTED', `${needy.scheme} is for Linux, not ${process.platform}`);
    const { loadLibc } = await import('../platform/linux/libc.ts');
    const libc = await loadLibc();
    const { LinuxBridge } = await import('../platform/linux/bridge/linux-bridge.ts');
    return new LinuxBridge(libc, log);
  } catch (error) {
    throw new BridgeError('UNSUPPORTED', `${needy.url} cannot be used: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * What connecting to a unix socket fails of while its backlog is full: unix(7) has EAGAIN; macOS and the BSDs say what
 * they also say of a socket that nobody listens on (unix(4)). Named pipes have no backlog.
 */
export function fullBacklogErrno(platform: NodeJS.Platform = process.platform): 'EAGAIN' | 'ECONNREFUSED' {
  return platform === 'linux' || platform === 'win32' ? 'EAGAIN' : 'ECONNREFUSED';
}
