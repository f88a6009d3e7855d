/** A host agent and a VM shim in this process, joined by a transport, for suites that run on every lane. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Agent, startAgent } from '../../host-agent/agent.ts';
import { hostConfig } from '../../host-agent/config.ts';
import type { EngineThreads } from '../../shared/engine/choose.ts';
import { type Logger, silentLogger } from '../../shared/logger.ts';
import { claimPort } from '../../shared/portfs/claim-port.ts';
import { parseAddress } from '../../shared/transport/address.ts';
import { dial } from '../../shared/transport/dial.ts';
import { shimConfig } from '../../vm-shim/config.ts';
import { type Shim, startShim } from '../../vm-shim/shim.ts';
import { hostPort } from './processes.ts';

export interface Joined {
  readonly dir: string;
  /** The threads of the Linux engine of each side. */
  readonly threads: { readonly host: EngineThreads | undefined; readonly shim: EngineThreads | undefined };
  /** Publishes through the 9P tree; answers the host port. */
  expose(spec: string): Promise<number>;
  close(): Promise<void>;
}

let names = 0;

/**
 * @param lane as --lane of the host agent
 * @param transport what joins them
 * @param engine as --engine of both
 * @param workers as --workers of both
 * @param dials which side dials the other
 */
export async function joinPair(
  lane: 'dedicated' | 'multiplexed',
  transport: 'unix' | 'tcp' = 'unix',
  engine: 'portable' | 'linux' = 'portable',
  workers = 1,
  log: Logger = silentLogger(),
  dials: 'host' | 'shim' = 'host',
): Promise<Joined> {
  const dir = await mkdtemp(join(tmpdir(), 'portferry-'));
  const listen = transport === 'unix' ? `unix://${dir}/shim.sock` : 'tcp://127.0.0.1:0';
  const control = `unix://${dir}/control.sock`;
  const both = { engine, workers: `${workers}` };
  const startHost = (way: { connect: string[] } | { listen: string[] }) =>
    startAgent(hostConfig({ ...way, control: [control], lane, ...both }), log);
  const start = (way: { connect: string } | { listen: string }) =>
    startShim(shimConfig({ ...way, ...both }), log);
  let shim: Shim;
  let agent: Agent;
  if (dials === 'host') {
    shim = await start({ listen });
    agent = await startHost({ connect: [shim.url!] });
  } else {
    agent = await startHost({ listen: [listen] });
    shim = await start({ connect: agent.urls[0]! });
  }
  const { signal } = new AbortController();
  return {
    dir,
    threads: { host: agent.threads, shim: shim.threads },
    expose: async (spec) => {
      const claim = await claimPort(await dial(parseAddress(control), signal), `entry-${names++}`, spec);
      return hostPort(claim.resolved);
    },
    close: async () => {
      await agent.close();
      await shim.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
