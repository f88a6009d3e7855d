import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Peer } from './peer.ts';

const RELAY = fileURLToPath(new URL('./node-relay.js', import.meta.url));

/** What one gets from Node without an engine: two processes of node:net and pipe(), a unix socket between them. */
export const nodePair: Peer = {
  name: 'node-pair',
  what: 'two plain node:net relays, a unix socket between them',
  hops: 2,
  udp: false,
  start({ processes, dir, front, back }) {
    const middle = join(dir, 'middle.sock');
    processes.start(process.execPath, RELAY, middle, String(back));
    processes.start(process.execPath, RELAY, String(front), middle);
  },
};
