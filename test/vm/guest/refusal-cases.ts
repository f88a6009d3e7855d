/** Who is turned away over AF_VSOCK, and what is said of it. */
import { join } from 'node:path';
import {
  hostPort,
  logLines,
  type Running,
  runPortferry,
  startPortferry,
  until,
  untilLinked,
} from '../../helpers/processes.ts';
import { roundTrip } from '../../helpers/stream-client.ts';
import { type Cases, matches, same } from './cases.ts';
import type { Containers } from './containers.ts';
import type { Namespace } from './namespace.ts';

const NOBODY = 6_001;
const SHIMS = { portable: 6_002, linux: 6_003 } as const;
const HOST = 6_004;
const TURNED = 6_005;
const CONTROL = 6_006;
const WARN = 40;
/** Many programs start at once. */
const LONG_MS = 50_000;

/** They concern each other in nothing, so all run at once: what takes long here is starting programs. */
export async function refusalCases(
  cases: Cases,
  vm: Namespace,
  folder: string,
  containers: Containers,
): Promise<void> {
  await Promise.all([
    cases.case('nobody listens: the error says so', async () => {
      const { code, stderr } = await runPortferry('claim', '80', '--control', `vsock://local:${NOBODY}`);
      same(code, 1, 'the exit code');
      matches(stderr, /vsock:\/\/local:6001: nobody listens on that port here.*\[NO_LINK\]/, 'the error');
    }),
    cases.case('no such VM: the error says so, and names the module', async () => {
      const { code, stderr } = await runPortferry('claim', '80', '--control', `vsock://77:${NOBODY}`);
      same(code, 1, 'the exit code');
      matches(stderr, /vsock:\/\/77:6001: no VM has CID 77.*modprobe vhost_vsock.*\[NO_LINK\]/, 'the error');
    }),
    ...(['portable', 'linux'] as const).map((engine) =>
      cases.case(`${engine} engine: a shim takes the host only, and logs others once`, () =>
        strangerAtShim(vm, engine),
      ),
    ),
    cases.case('a host agent that listens takes VMs only', () => strangerAtHost(vm)),
    cases.case('a shim that dials, and a claim over vsock', () => turnedAround(vm, folder, containers)),
  ]);
}

async function strangerAtShim(vm: Namespace, engine: 'portable' | 'linux'): Promise<void> {
  const url = `vsock://:${SHIMS[engine]}`;
  const shim = vm.startPortferry('vm-shim', '--listen', url, '--engine', engine, '--log-level', 'debug');
  const host = startPortferry('host-agent', '--connect', `vsock://local:${SHIMS[engine]}`);
  try {
    const lines = await until('three refusals', () => refusals(shim).length >= 3 && refusals(shim), LONG_MS);
    same(lines.filter(({ level }) => level === WARN).length, 1, 'warnings');
    matches(lines[0]!.msg!, /from CID 1 was closed: only CID 2 may connect \(--peer-cid\)/, 'the warning');
    if (/link is up/.test(host.stderr())) throw new Error('the link is up');
    const { code, stderr } = await runPortferry('vm-shim', '--listen', url);
    same(code, 1, 'the exit code of a second shim');
    matches(stderr, /vsock:\/\/:\d+: vsock port \d+ is already taken.*\[PORT_IN_USE\]/, 'its error');
  } finally {
    await Promise.all([shim.kill('SIGKILL'), host.kill('SIGKILL')]);
  }
}

async function strangerAtHost(vm: Namespace): Promise<void> {
  const host = startPortferry('host-agent', '--listen', `vsock://:${HOST}`);
  const shim = vm.startPortferry('vm-shim', '--connect', `vsock://local:${HOST}`);
  try {
    const [line] = await until('a refusal', () => refusals(host).length > 0 && refusals(host), LONG_MS);
    matches(line!.msg!, /from CID 1 was closed: only CIDs from 3 on/, 'the warning');
  } finally {
    await Promise.all([shim.kill('SIGKILL'), host.kill('SIGKILL')]);
  }
}

async function turnedAround(vm: Namespace, folder: string, containers: Containers): Promise<void> {
  const api = join(folder, 'api.sock');
  const host = startPortferry(
    'host-agent',
    ...[
      '--listen',
      `vsock://:${TURNED}`,
      '--control',
      `vsock://:${CONTROL}`,
      '--peer-cid',
      '1',
      '--api',
      api,
    ],
  );
  const shim = vm.startPortferry('vm-shim', '--connect', `vsock://local:${TURNED}`);
  let claim: Running | undefined;
  try {
    const { vms } = await untilLinked(host, api);
    same(vms[0]?.lane, 'multiplexed', 'the lane');
    claim = vm.startPortferry('claim', `${containers.echo}`, '--control', `vsock://local:${CONTROL}`);
    const spec = await firstLine(claim);
    same(await roundTrip(hostPort(spec), 'turned around'), 'turned around', 'the echo');
    same(await claim.kill(), 0, 'the exit code of the claim');
    same([await host.kill(), await shim.kill()], [0, 0], 'the exit codes of both sides');
  } finally {
    await Promise.all([shim, host, claim].map((each) => each?.kill('SIGKILL')));
  }
}

function firstLine(of: Running): Promise<string> {
  return until(
    'an answer',
    () => {
      if (of.child.exitCode !== null) throw new Error(`it ended: ${of.stderr()}`);
      return of.stdout().includes('\n') && of.stdout().trim();
    },
    LONG_MS,
  );
}

function refusals(of: Running) {
  return logLines(of.stderr()).filter(({ msg }) => msg?.includes('(--peer-cid)') === true);
}
