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
const SHIM = 6_002;
const HOST = 6_003;
const CONTROL = 6_004;
const WARN = 40;

export async function refusalCases(
  cases: Cases,
  vm: Namespace,
  folder: string,
  containers: Containers,
): Promise<void> {
  await cases.case('nobody listens: the error says so', async () => {
    const { code, stderr } = await runPortferry('claim', '80', '--control', `vsock://local:${NOBODY}`);
    same(code, 1, 'the exit code');
    matches(stderr, /vsock:\/\/local:6001: nobody listens on that port here.*\[NO_LINK\]/, 'the error');
  });

  await cases.case('no such VM: the error says so, and names the module', async () => {
    const { code, stderr } = await runPortferry('claim', '80', '--control', `vsock://77:${NOBODY}`);
    same(code, 1, 'the exit code');
    matches(stderr, /vsock:\/\/77:6001: no VM has CID 77.*modprobe vhost_vsock.*\[NO_LINK\]/, 'the error');
  });

  for (const engine of ['portable', 'linux'] as const) {
    await cases.case(`${engine} engine: a shim takes the host only, and logs others once`, async () => {
      const shim = vm.startPortferry(
        'vm-shim',
        ...['--listen', `vsock://:${SHIM}`, '--engine', engine, '--log-level', 'debug'],
      );
      const host = startPortferry('host-agent', '--connect', `vsock://local:${SHIM}`, '--log-level', 'debug');
      try {
        const lines = await until('three refusals', () => {
          const all = refusals(shim);
          return all.length >= 3 && all;
        });
        same(lines.filter(({ level }) => level === WARN).length, 1, 'warnings');
        matches(
          lines[0]!.msg!,
          /from CID 1 was closed: only CID 2 may connect \(--peer-cid\)/,
          'the warning',
        );
        if (/link is up/.test(host.stderr())) throw new Error('the link is up');
        const { code, stderr } = await runPortferry('vm-shim', '--listen', `vsock://:${SHIM}`);
        same(code, 1, 'the exit code of a second shim');
        matches(stderr, /vsock:\/\/:6002: vsock port 6002 is already taken.*\[PORT_IN_USE\]/, 'its error');
      } finally {
        await Promise.all([shim.kill('SIGKILL'), host.kill('SIGKILL')]);
      }
    });
  }

  await cases.case('a host agent that listens takes VMs only', async () => {
    const host = startPortferry('host-agent', '--listen', `vsock://:${HOST}`);
    const shim = vm.startPortferry('vm-shim', '--connect', `vsock://local:${HOST}`);
    try {
      const [line] = await until('a refusal', () => refusals(host).length > 0 && refusals(host));
      matches(line!.msg!, /from CID 1 was closed: only CIDs from 3 on/, 'the warning');
    } finally {
      await Promise.all([shim.kill('SIGKILL'), host.kill('SIGKILL')]);
    }
  });

  await cases.case('a shim that dials, and a claim over vsock', async () => {
    const api = join(folder, 'api.sock');
    const host = startPortferry(
      'host-agent',
      ...[
        '--listen',
        `vsock://:${HOST}`,
        '--control',
        `vsock://:${CONTROL}`,
        '--peer-cid',
        '1',
        '--api',
        api,
      ],
    );
    const shim = vm.startPortferry('vm-shim', '--connect', `vsock://local:${HOST}`);
    const claim = vm.startPortferry('claim', `${containers.echo}`, '--control', `vsock://local:${CONTROL}`);
    try {
      const { vms } = await untilLinked(host, api);
      same(
        vms.map(({ lane }) => lane),
        ['multiplexed'],
        'the lane',
      );
      const spec = await until('the claim', () => {
        if (claim.child.exitCode !== null) throw new Error(`claim ended: ${claim.stderr()}`);
        return claim.stdout().includes('\n') && claim.stdout().trim();
      });
      same(await roundTrip(hostPort(spec), 'turned around'), 'turned around', 'the echo');
      same(await claim.kill(), 0, 'the exit code of the claim');
      same([await host.kill(), await shim.kill()], [0, 0], 'the exit codes of both sides');
    } finally {
      await Promise.all([shim, host, claim].map((each) => each.kill('SIGKILL')));
    }
  });
}

function refusals(of: Running) {
  return logLines(of.stderr()).filter(({ msg }) => msg?.includes('(--peer-cid)') === true);
}
