import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { dockerProxy, pasta, rootlesskit, socat, socatPair } from './debian.ts';
import { nodePair } from './node-pair.ts';
import type { Peer } from './peer.ts';
import { portferry } from './portferry.ts';

/** All forwarders that can be measured; ratios are to the first of BASELINES that was. */
export const PEERS: readonly Peer[] = [
  portferry('linux', 'dedicated'),
  portferry('portable', 'dedicated'),
  portferry('linux', 'multiplexed'),
  portferry('portable', 'multiplexed'),
  dockerProxy,
  nodePair,
  socatPair,
  socat,
  pasta,
  rootlesskit,
];

export const BASELINES: readonly string[] = [dockerProxy.name, nodePair.name];

/** Why a peer cannot be measured here; undefined when it can. */
export function whyNot(peer: Peer): string | undefined {
  const { program } = peer;
  if (program !== undefined && !isInstalled(program.name))
    return `${program.name} is not installed; apt-get install --no-install-recommends ${program.debian}`;
  return peer.refuses?.();
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
