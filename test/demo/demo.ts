/**
 * A host agent and a VM shim in processes of their own, three stand-in containers, and their ports published
 * through the control filesystem, as a claimer in a VM would.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiClient } from '../../host-agent/client/api-client.ts';
import type { EnginePreference } from '../../shared/engine/choose.ts';
import { messageOf } from '../../shared/errors.ts';
import { onWindows } from '../../shared/platform/choose.ts';
import { formatSpec, type InetSpec, onePortSpec, parseSpec } from '../../shared/port-spec.ts';
import { claimPort } from '../../shared/portfs/claim-port.ts';
import type { Scope } from '../../shared/scope.ts';
import { parseAddress } from '../../shared/transport/address.ts';
import { apiClientPath } from '../../shared/transport/api-address.ts';
import { dial } from '../../shared/transport/dial.ts';
import { type Check, checkHttp, checkUdp, checkUpload } from './checks.ts';
import { type Container, startHttpServer, startUdpEcho, startUploadEcho } from './containers.ts';
import { Program } from './processes.ts';

/** How long each step may take, milliseconds. */
const STEP_MS = 20_000;

export interface Pair {
  readonly programs: readonly Program[];
  readonly shimUrl: string;
  readonly controlUrl: string;
  readonly api: string;
}

/** One published container, after its check. */
export interface Published {
  readonly name: string;
  readonly spec: InetSpec;
  readonly checked: string;
}

const CONTAINERS: ReadonlyArray<{ name: string; start: () => Promise<Container>; check: Check }> = [
  { name: 'web', start: startHttpServer, check: checkHttp },
  { name: 'udp-echo', start: startUdpEcho, check: checkUdp },
  { name: 'upload', start: startUploadEcho, check: checkUpload },
];

/**
 * Starts the two programs, joined by a unix socket in a directory that only we can enter, or by a named pipe on Windows.
 * @param engine what both are told to use; undefined leaves it to them
 */
export async function startPair(scope: Scope, engine: EnginePreference | undefined): Promise<Pair> {
  const dir = await mkdtemp(join(tmpdir(), 'portferry-demo-')); // mode 0700
  scope.defer(() => rm(dir, { recursive: true, force: true }));
  const shimUrl = socketUrl(dir, 'vm');
  const controlUrl = socketUrl(dir, 'control');
  const api = onWindows ? socketUrl(dir, 'api') : join(dir, 'api.sock');
  const more = engine === undefined ? [] : ['--engine', engine];
  const shim = start(scope, 'vm-shim', '--listen', shimUrl, ...more);
  const doors = ['--control', controlUrl, '--api', api];
  const host = start(scope, 'host-agent', '--connect', shimUrl, ...doors, ...more);
  return { programs: [shim, host], shimUrl, controlUrl, api };
}

/** A unix socket in the directory, or a named pipe that is called after it. */
function socketUrl(dir: string, name: string): string {
  return onWindows ? `npipe:////./pipe/${basename(dir)}-${name}` : `unix://${join(dir, `${name}.sock`)}`;
}

/** Waits until the host agent serves its API, which comes up last, and has its link to the shim. */
export async function untilLinked({ api }: Pair, scope: Scope): Promise<void> {
  const client = new ApiClient(apiClientPath(api));
  await step('waiting for the link between host agent and VM shim', scope.signal, async (signal) => {
    for (;;) {
      const up = await client.list().then(
        ({ vms }) => vms.every((vm) => vm.up),
        () => false,
      );
      if (up) return;
      await delay(20, undefined, { signal });
    }
  });
}

/** Starts each container, publishes it on a free port of 127.0.0.1, and asks it something through that port. */
export async function publishAll({ controlUrl }: Pair, scope: Scope): Promise<Published[]> {
  const control = parseAddress(controlUrl);
  const published: Published[] = [];
  for (const { name, start, check } of CONTAINERS) {
    const container = await start();
    scope.defer(() => container.close());
    const { protocol, ip: vmIp, port: vmPort } = container;
    const wanted = formatSpec(onePortSpec({ protocol, hostIp: '127.0.0.1', hostPort: 0, vmIp, vmPort }));
    const claim = await step(`publishing ${name} (${wanted})`, scope.signal, async (signal) =>
      claimPort(await dial(control, signal), name, wanted, { signal }),
    );
    scope.defer(() => claim.release());
    const spec = parseSpec(claim.resolved) as InetSpec;
    const checked = await step(`checking ${name} (${claim.resolved})`, scope.signal, (signal) =>
      check(spec.hostIps[0]!, spec.hostPorts.first, signal),
    );
    published.push({ name, spec, checked });
  }
  return published;
}

function start(scope: Scope, name: string, ...args: string[]): Program {
  const program = new Program(name, ...args);
  scope.defer(() => program.stop());
  return program;
}

/** Runs one step, waits no longer than its time limit, and names it in what it throws. */
async function step<T>(
  what: string,
  outer: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = AbortSignal.timeout(STEP_MS);
  const signal = AbortSignal.any([outer, limit]);
  const over = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([run(signal), over]);
  } catch (error) {
    const why = limit.aborted ? `not done within ${STEP_MS / 1000} s` : messageOf(error);
    throw new Error(`${what}: ${why}`, { cause: error });
  }
}
