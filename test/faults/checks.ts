/** What has to hold when a fault is over. Each check throws an Error that says what does not. */
import { setTimeout as delay } from 'node:timers/promises';
import { listForwards } from '../helpers/api.ts';
import { boundPorts, type DescriptorKinds, descriptorKinds } from '../helpers/bound-ports.ts';
import type { Transfer } from '../helpers/exchange.ts';
import { runPortferry, until } from '../helpers/processes.ts';
import { childrenOf } from '../helpers/proxy-process.ts';
import type { Victim } from './points.ts';
import { isReverse, portOf } from './ports.ts';
import type { Site } from './site.ts';
import { untilWorks } from './until-works.ts';

/** Within this every forward works again, milliseconds. */
const RECOVERY_MS = 6_000;
/** A program starts within this on a machine that has time for it; on one that has not, starts and retries take longer. */
const START_MS = 500;
const STARTS = 10;
const SETTLE_MS = 12_000;
/** Pipes are pooled: at most 48 a worker, of two descriptors each (shared/platform/linux/pipe-pool.ts). */
const MOST_PIPES = 4 * 48 * 2;

/** Spare streams that stay open beyond those at first: fewer are asked for only when a quarter would do (spare-wish.ts). */
const MORE_SPARES = 8;

export interface Baseline {
  readonly host: DescriptorKinds;
  readonly shim: DescriptorKinds;
}

/** What the programs of a site have open when nothing goes on. */
export async function baselineOf(site: Site): Promise<Baseline> {
  await quiet(site);
  let last = '';
  return until('descriptors to stay as they are', async () => {
    const now = { host: descriptorKinds(site.host.pid), shim: descriptorKinds(site.shim.pid) };
    const same = JSON.stringify(now) === last;
    last = JSON.stringify(now);
    await delay(100);
    return same && now;
  });
}

/** Every forward that should exist works, soon. @returns how long that took, milliseconds */
export async function checkForwards(site: Site): Promise<number> {
  const startMs = await timeOfStart();
  const begun = Date.now();
  const deadline = begun + RECOVERY_MS + (startMs > START_MS ? STARTS * startMs : 0);
  const [tcp, udp, wildcard] = site.exposed as [string, string, string];
  await Promise.all([
    ...[tcp, wildcard, site.reverse].map((spec) =>
      untilWorks(spec, deadline, () => site.exchange.whole(portOf(spec), 2_000, 2_000)),
    ),
    untilWorks(udp, deadline, async () => {
      if (!(await site.datagrams.ask(portOf(udp)))) throw new Error('no answer to a datagram');
    }),
    ...site.claimers.map((claimer) =>
      untilWorks(claimer.spec, deadline, async () => {
        await claimer.keep(deadline);
        await site.exchange.whole(portOf(claimer.spec), 2_000, 2_000);
      }),
    ),
  ]);
  return Date.now() - begun;
}

async function timeOfStart(): Promise<number> {
  const begun = Date.now();
  await runPortferry('--version');
  return Date.now() - begun;
}

/** The table has these forwards and no others, and each program has their ports and no others. */
export async function checkTable(site: Site, specs: readonly string[]): Promise<void> {
  const expected = [...specs].sort();
  let found: string[] = [];
  const same = async () => {
    found = (await listForwards(site.api)).forwards.map(({ spec }) => spec).sort();
    return JSON.stringify(found) === JSON.stringify(expected);
  };
  await until('the table', same, SETTLE_MS).catch(() => {
    throw new Error(`the table has ${found.join(', ')} instead of ${expected.join(', ')}`);
  });
  for (const which of ['host', 'shim'] as const) {
    const wanted = specs
      .filter((spec) => isReverse(spec) === (which === 'shim'))
      .map((spec) => `${isReverse(spec) ? 'tcp' : spec.slice(0, 3)} ${portOf(spec)}`)
      .sort();
    let bound: string[] = [];
    const held = () => {
      bound = boundPorts(site[which].pid);
      return JSON.stringify(bound) === JSON.stringify(wanted);
    };
    await until('the ports', held, SETTLE_MS).catch(() => {
      throw new Error(`the ${which} has ${bound.join(', ')} instead of ${wanted.join(', ')}`);
    });
  }
}

/** Nothing goes on, and nobody has more descriptors or processes than at first. */
export async function checkLeaks(site: Site, before: Baseline): Promise<void> {
  await quiet(site);
  for (const which of ['host', 'shim'] as const) {
    const { pid } = site[which];
    let now = descriptorKinds(pid);
    const { pipes, others } = before[which];
    const sockets = before[which].sockets + (site.lane === 'shim-dialled' ? MORE_SPARES : 0);
    const back = () => {
      now = descriptorKinds(pid);
      return now.sockets <= sockets && now.others <= others && now.pipes <= pipes + MOST_PIPES;
    };
    await until('descriptors', back, SETTLE_MS).catch(() => {
      const [was, is] = [JSON.stringify(before[which]), JSON.stringify(now)];
      throw new Error(`the ${which} has left descriptors open: ${was} at first, ${is} now`);
    });
    const children = childrenOf(pid);
    if (children.length > 0) throw new Error(`the ${which} has left processes: ${children.join(', ')}`);
  }
  const expected = new Set([site.host.pid, site.shim.pid, ...site.claimers.map(({ pid }) => pid)]);
  const more = site.group.running.filter((pid) => !expected.has(pid));
  if (more.length > 0) throw new Error(`processes are left: ${more.join(', ')}`);
}

/** No transfer has lost or doubled a byte, and what was cut off was seen as such. @returns how many were whole */
export async function checkTransfers(site: Site, victim: Victim): Promise<{ whole: number; broken: number }> {
  const transfers = site.transfers.splice(0);
  const settled = until(
    'transfers',
    () => transfers.every(({ client, server, received }) => client && (server || received === 0)),
    SETTLE_MS,
  );
  await settled.catch(() => {});
  const faults = transfers
    .map((transfer) => faultOf(transfer, site.fromVm.delete(transfer) ? turned(victim) : victim))
    .filter((fault) => fault !== undefined);
  if (site.datagrams.faults.length > 0) faults.push(...site.datagrams.faults.splice(0));
  if (faults.length > 0) throw new Error(faults.slice(0, 5).join('; '));
  const whole = transfers.filter(
    ({ client, server }) => client === 'complete' && server === 'complete',
  ).length;
  return { whole, broken: transfers.length - whole };
}

/** Of a client in the VM: the shim has its end, and the host agent that of the service. */
function turned(victim: Victim): Victim {
  if (victim === 'host') return 'shim';
  return victim === 'shim' ? 'host' : victim;
}

/**
 * When a process is killed its own TCP sockets are the kernel's to close, which ends them cleanly unless something was
 * unread: the client's end does not count when the host agent was killed, nor the container's when the shim was.
 */
function faultOf(transfer: Transfer, victim: Victim): string | undefined {
  const { number, client, server, received, manner } = transfer;
  const name = `transfer ${number} (${manner}, ${transfer.up} up, ${received} of ${transfer.down} down)`;
  if (client === undefined) return `${name} hangs at the client`;
  if (server === undefined && received > 0) return `${name} hangs at the container`;
  if (client === 'wrong' || server === 'wrong') return `${name} has wrong bytes`;
  if (client === 'short end' && victim !== 'host')
    return `${name} was cut off, and ended cleanly for the client`;
  if (server === 'short end' && victim !== 'shim')
    return `${name} was cut off, and ended cleanly for the container`;
  if (client === 'complete' && server !== 'complete' && victim !== 'host')
    return `${name} was complete for the client, ${server} for the container`;
  return undefined;
}

/** No connection is left at the container. */
async function quiet(site: Site): Promise<void> {
  await until('connections to be gone', () => site.exchange.open() === 0, SETTLE_MS).catch(() => {
    throw new Error(`${site.exchange.open()} connections are left at the container`);
  });
}
