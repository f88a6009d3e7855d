/** Who is turned away over AF_VSOCK, and what is said of it. We are the stranger: everybody here has CID 1. */
import { join } from 'node:path';
import { messageOf } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { parseAddress } from '../../../shared/transport/address.ts';
import type { Bridge } from '../../../shared/transport/bridge.ts';
import { bridgeFor } from '../../../shared/transport/choose.ts';
import { dial } from '../../../shared/transport/dial.ts';
import { listen } from '../../../shared/transport/listen.ts';
import {
  hostPort,
  logLines,
  type Running,
  startPortferry,
  until,
  untilLinked,
} from '../../helpers/processes.ts';
import { roundTrip } from '../../helpers/stream-client.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import type { Containers } from './containers.ts';
import type { Namespace } from './namespace.ts';

const NOBODY = 6_001;
const SHIMS = { portable: 6_002, linux: 6_003 } as const;
const HOST = 6_004;
const TURNED = 6_005;
const CONTROL = 6_006;
const WARN = 40;
const never = new AbortController().signal;
const log = silentLogger();

export async function refusalCases(
  cases: Cases,
  vm: Namespace,
  folder: string,
  containers: Containers,
): Promise<void> {
  const bridge = (await bridgeFor([parseAddress('vsock://local:1')], log))!;
  await cases.case('nobody listens: the error says so', async () => {
    const message = await failure(dial(parseAddress(`vsock://local:${NOBODY}`), never, bridge));
    matches(
      message,
      /^cannot connect to vsock:\/\/local:6001: nobody listens on that port here/,
      'the error',
    );
  });
  await cases.case('no such VM: the error says so, and names the module', async () => {
    const message = await failure(dial(parseAddress(`vsock://77:${NOBODY}`), never, bridge));
    matches(message, /vsock:\/\/77:6001: no VM has CID 77.*modprobe vhost_vsock/, 'the error');
  });
  await cases.case('a CID that this machine has not cannot be listened on', async () => {
    const message = await failure(
      listen(parseAddress(`vsock://77:${NOBODY}`), 'vm', () => {}, log, { bridge }),
    );
    matches(message, /cannot listen on vsock:\/\/77:6001: CID 77 is not this machine's/, 'the error');
  });
  // What takes long here is starting programs.
  await Promise.all([
    ...(['portable', 'linux'] as const).map((engine) =>
      cases.case(`${engine} engine: a shim takes the host only, and logs others once`, async () => {
        const url = `vsock://:${SHIMS[engine]}`;
        const shim = vm.startPortferry(
          'vm-shim',
          '--listen',
          url,
          '--engine',
          engine,
          '--log-level',
          'debug',
        );
        await beStrangers(shim, SHIMS[engine], bridge, /from CID 1 was closed: only CID 2 may connect/);
        await shim.kill('SIGKILL');
      }),
    ),
    cases.case('a host agent that listens takes VMs only, and logs others once', async () => {
      const host = startPortferry('host-agent', '--listen', `vsock://:${HOST}`, '--log-level', 'debug');
      await beStrangers(host, HOST, bridge, /from CID 1 was closed: only CIDs from 3 on/);
      await host.kill('SIGKILL');
    }),
  ]);
  await bridge.close();
  await cases.case('a shim that dials, and a claim over vsock', () => turnedAround(vm, folder, containers));
}

/** Connects three times to a program that takes others only. */
async function beStrangers(program: Running, port: number, bridge: Bridge, why: RegExp): Promise<void> {
  await until(
    'it to listen',
    () => logLines(program.stderr()).some(({ msg }) => READY.test(msg ?? '')),
    WAIT_MS,
  );
  for (let times = 0; times < 3; times++) {
    const stream = await dial(parseAddress(`vsock://local:${port}`), never, bridge);
    stream.resume();
    await until(
      'the stream to be closed',
      () => {
        if (stream.writable) stream.write('x');
        return stream.destroyed;
      },
      WAIT_MS,
    );
  }
  const refusals = () =>
    logLines(program.stderr()).filter(({ msg }) => msg?.includes('(--peer-cid)') === true);
  const lines = await until('three refusals', () => refusals().length === 3 && refusals(), WAIT_MS);
  same(lines.filter(({ level }) => level === WARN).length, 1, 'warnings');
  matches(lines[0]!.msg!, why, 'the warning');
  const taken = listen(parseAddress(`vsock://:${port}`), 'vm', () => {}, log, { bridge });
  matches(
    await failure(taken),
    new RegExp(`:${port}: vsock port ${port} is already taken`),
    'a second listener',
  );
}

const READY = /^the (?:VM shim listens|host agent is ready)$/;

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
    const { vms } = await untilLinked(host, api, WAIT_MS);
    same(vms[0]?.lane, 'dedicated', 'the lane');
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
  const look = () => {
    if (of.child.exitCode !== null) throw new Error(`it ended: ${of.stderr()}`);
    return of.stdout().includes('\n') && of.stdout().trim();
  };
  return until('an answer', look, WAIT_MS);
}

/** What something that has to fail says. */
async function failure(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    return messageOf(error);
  }
  throw new Error('it did not fail');
}
