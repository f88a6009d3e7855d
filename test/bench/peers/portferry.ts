import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ApiClient } from '../../../host-agent/client/api-client.ts';
import { onePort, type PortRange, portsFrom } from '../../../shared/port-range.ts';
import { formatSpec, type InetSpec, onePortSpec, parseSpec } from '../../../shared/port-spec.ts';
import type { Peer, Place, Publisher } from './peer.ts';

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
    publisher,
    start: (place) => start(place, engine, lane),
  };
}

function publisher({ back, dir }: Place): Publisher {
  const client = new ApiClient(apiPath(dir));
  const expose = async (vmPorts: PortRange): Promise<InetSpec> => {
    const ends = { hostIps: ['127.0.0.1'], hostPorts: onePort(0), vmIp: '127.0.0.1', vmPorts };
    const { spec } = await client.expose(formatSpec({ protocol: 'tcp', ...ends }), undefined);
    return parseSpec(spec) as InetSpec;
  };
  const remove = async (specs: readonly InetSpec[]): Promise<void> => {
    for (const spec of specs) await client.unexpose(formatSpec(spec), undefined, true);
  };
  return {
    range: async (count) => {
      const first = back - Math.floor(count / 2);
      const spec = await expose(portsFrom(first, count));
      return { port: spec.hostPorts.first + back - first, remove: () => remove([spec]) };
    },
    each: async (count) => {
      const specs: InetSpec[] = [];
      while (specs.length < count) specs.push(await expose(onePort(back)));
      return { port: specs.at(-1)!.hostPorts.first, remove: () => remove(specs) };
    },
  };
}

const apiPath = (dir: string): string => join(dir, 'api.sock');

async function start(place: Place, engine: Engine, lane: Lane): Promise<void> {
  const { processes, dir, front, back, signal } = place;
  const url = `unix://${join(dir, 'vm.sock')}`;
  const api = apiPath(dir);
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
