/** What else goes on in a round while the fault strikes. */
import { setTimeout as delay } from 'node:timers/promises';
import { hostPort } from '../helpers/processes.ts';
import type { Seeded } from '../helpers/seeded.ts';
import type { Site } from './site.ts';

export type Load = 'none' | 'bulk' | 'short connections' | 'datagrams' | 'all';
export const LOADS: readonly Load[] = ['none', 'bulk', 'short connections', 'datagrams', 'all'];

const BULK = { transfers: 4, least: 500_000, most: 4_000_000 };
const CLIENTS = 4;
const DATAGRAM_MS = 3;
const REFUSED_MS = 10;

/** Begins it. @returns what ends it: no more is begun, what runs goes on; resolves when clients have their last answer */
export function startLoad(site: Site, load: Load, random: Seeded): () => Promise<void> {
  let stopped = false;
  const working: Promise<void>[] = [];
  const ports = [site.exposed[0]!, site.exposed[2]!, ...site.claimers.map(({ spec }) => spec)].map(hostPort);
  if (load === 'bulk' || load === 'all') {
    for (let i = 0; i < BULK.transfers; i++) {
      const size = () => random.between(BULK.least, BULK.most);
      site.transfers.push(site.exchange.begin(random.pick(ports), size(), size()));
    }
  }
  const repeat = async (): Promise<void> => {
    while (!stopped) {
      const transfer = site.exchange.begin(random.pick(ports), random.below(3_000), random.below(3_000));
      site.transfers.push(transfer);
      await transfer.over;
      // While nobody listens, connecting fails at once.
      if (transfer.client !== 'complete') await delay(REFUSED_MS);
    }
  };
  if (load === 'short connections' || load === 'all') {
    for (let i = 0; i < CLIENTS; i++) working.push(repeat());
  }
  let timer: NodeJS.Timeout | undefined;
  if (load === 'datagrams' || load === 'all') {
    const port = hostPort(site.exposed[1]!);
    timer = setInterval(() => void site.datagrams.ask(port, random.between(8, 1_200)), DATAGRAM_MS);
  }
  return async () => {
    stopped = true;
    clearInterval(timer);
    await Promise.all(working);
  };
}
