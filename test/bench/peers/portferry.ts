import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ApiClient } from '../../../host-agent/client/api-client.ts';
import { formatSpec, onePortSpec } from '../../../shared/port-spec.ts';
import type { Peer, Place } from './peer.ts';

const PROGRAM = fileURLToPath(new URL('../../../portferry.js', import.meta.url));
const LINK_MS = 60_000;

type Engine = 'linux' | 'portable';
type Lane = 'dedicated' | 'multiplexed';

/** A host agent and a VM shim with a unix socket between them, as they are used. */
export function portferry(engine: Engine, lane: Lane): Peer {
  return {
    name: `portferry-${engine}${lane === 'multiplexed' ? '-mux' : ''}`,
    what: `host agent and VM shim, ${engine} engine, ${lane} lane`,
    hops: 2,
    udp: true,
    ...(lane === 'multiplexed' && { measures: ['bulk1'] }),
    start: (place) => start(place, engine, lane),
  };
}

async function start(place: Place, engine: Engine, lane: Lane): Promise<void> {
  const { processes, dir, front, back, signal } = place;
  const url = `unix://${join(dir, 'vm.sock')}`;
  const api = join(dir, 'api.sock');
  const common = ['--engine', engine, '--log-level', 'warn'];
  processes.start(process.execPath, PROGRAM, 'vm-shim', '--listen', url, ...common);
  const host = ['--connect', url, '--api', api, '--lane', lane];
  processes.start(process.execPath, PROGRAM, 'host-agent', ...host, ...common);
  const client = new ApiClient(api);
  await untilLinked(client, lane, signal);
  const ends = { hostIp: '127.0.0.1', hostPort: front, vmIp: '127.0.0.1', vmPort: back };
  for (const protocol of ['tcp', 'udp'] as const)
    await client.expose(formatSpec(onePortSpec({ protocol, ...ends })), undefined);
}

async function untilLinked(client: ApiClient, lane: Lane, signal: AbortSignal): Promise<void> {
  const end = Date.now() + LINK_MS;
  for (;;) {
    const vm = await client.list().then(
      ({ vms }) => vms[0],
      () => undefined,
    );
    if (vm?.up === true) {
      if (vm.lane !== lane) throw new Error(`the link has the ${vm.lane} lane, not the ${lane} one`);
      return;
    }
    if (Date.now() > end) throw new Error(`no link within ${LINK_MS / 1000} s`);
    await delay(20, undefined, { signal });
  }
}
