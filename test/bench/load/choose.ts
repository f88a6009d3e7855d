import type { Network } from './network.ts';
import { NodeNetwork } from './node-network.ts';

/** The epoll driver where the Linux platform layer loads, else the one of Node. */
export async function chooseNetwork(): Promise<Network> {
  if (process.platform !== 'linux') return new NodeNetwork();
  try {
    const { loadLibc } = await import('../../../shared/platform/linux/libc.ts');
    const { EpollNetwork } = await import('./epoll-network.ts');
    return new EpollNetwork(await loadLibc());
  } catch {
    return new NodeNetwork();
  }
}
