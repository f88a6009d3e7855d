/** A host agent in this process that listens for its VM's shim, which comes later or is a test. */
import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAgent } from '../../host-agent/agent.ts';
import { hostConfig } from '../../host-agent/config.ts';
import { type Logger, silentLogger } from '../../shared/logger.ts';
import { claimPort } from '../../shared/portfs/claim-port.ts';
import { parseAddress } from '../../shared/transport/address.ts';
import { dial } from '../../shared/transport/dial.ts';
import { shimConfig } from '../../vm-shim/config.ts';
import { type Shim, startShim } from '../../vm-shim/shim.ts';
import type { EngineName } from './engines.ts';
import { hostPort } from './processes.ts';

export interface HostAlone {
  /** Publishes through the 9P tree; answers the host port. */
  expose(spec: string): Promise<number>;
  /** A stream to where shims are awaited. */
  dial(): Promise<Socket>;
  /** A shim that dials the host agent. */
  startShim(): Promise<void>;
  close(): Promise<void>;
}

/** @param engine as --engine of both; `lane` as --lane */
export async function startHostAlone(
  engine: EngineName,
  lane: 'auto' | 'multiplexed',
  log: Logger = silentLogger(),
): Promise<HostAlone> {
  const dir = await mkdtemp(join(tmpdir(), 'portferry-'));
  const address = `unix://${dir}/host.sock`;
  const control = `unix://${dir}/control.sock`;
  const agent = await startAgent(
    hostConfig({ listen: [address], control: [control], lane, engine, workers: '1' }),
    log,
  );
  const { signal } = new AbortController();
  let shim: Shim | undefined;
  let names = 0;
  return {
    expose: async (spec) => {
      const claim = await claimPort(await dial(parseAddress(control), signal), `entry-${names++}`, spec);
      return hostPort(claim.resolved);
    },
    dial: () => dial(parseAddress(address), signal),
    startShim: async () => {
      shim = await startShim(shimConfig({ connect: address, engine, workers: '1' }), log);
    },
    close: async () => {
      await shim?.close();
      await agent.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
