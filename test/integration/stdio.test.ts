/** A link over stdin and stdout of a program that the host agent starts: here the shim itself, elsewhere ssh to it. */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { establishLink } from '../../shared/link/establish.ts';
import { LinkIdentity } from '../../shared/link/identity.ts';
import { silentLogger } from '../../shared/logger.ts';
import { TwoWay } from '../../shared/transport/two-way.ts';
import { listForwards } from '../helpers/api.ts';
import {
  logLines,
  ONE_WORKER,
  PROGRAM,
  ProcessGroup,
  type Running,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import { Published } from '../helpers/published.ts';
import { connectTo, fateOf, readExactly, roundTrip } from '../helpers/stream-client.ts';

const logged = (running: Running) => logLines(running.stderr()).map(({ msg }) => msg ?? '');

describe('exec: and stdio:', () => {
  const group = new ProcessGroup();
  const api = join(group.dir, 'api.sock');
  let host: Running;
  const published = new Published(api);

  beforeAll(async () => {
    const url = `exec:'${process.execPath}' "${PROGRAM}" vm-shim --listen stdio:`;
    host = group.start('host-agent', ...ONE_WORKER, '--connect', url, '--api', api);
    const { vms } = await untilLinked(host, api);
    expect(vms[0]).toMatchObject({ lane: 'multiplexed' });
  });
  afterAll(async () => {
    await group.close();
    await published.close();
  });

  /** The shim's pid, as its log says it on its stderr, which the host agent logs. */
  const shimPid = () =>
    logLines(host.stderr())
      .filter(({ childPid }) => childPid !== undefined)
      .at(-1)!.childPid as number;

  it('carries connections, half-closes kept, and logs what the program writes to stderr', async () => {
    await published.check(8_000_000);
    expect(logged(host).some((line) => line.includes('the VM shim listens'))).toBe(true);
  });

  it('the death of the program resets its clients, says why, and it is started again', async () => {
    const port = await published.echo();
    const open = await connectTo(port);
    open.write('open');
    await readExactly(open, 4);
    const fate = fateOf(open);
    const before = shimPid();
    process.kill(before, 'SIGKILL');
    expect((await fate).how).toBe('ECONNRESET');
    await until('the reason', () => logged(host).some((line) => /was ended by SIGKILL/.test(line)));
    await until('another program', () => shimPid() !== before);
    await until('the link', async () => (await listForwards(api)).vms.every(({ up }) => up));
    expect(await roundTrip(port, 'again')).toBe('again');
  });

  it('the program ends with the host agent', async () => {
    const pid = shimPid();
    expect(await host.kill()).toBe(0);
    await until('the shim to be gone', () => {
      try {
        process.kill(pid, 0);
        return false;
      } catch {
        return true;
      }
    });
  });
});

describe('what goes wrong', () => {
  it.each([
    ['exec:/nonexistent/program', 'there is no program "/nonexistent/program" (no shell is used)'],
    [`exec:'${process.execPath}' -e "process.exit(7)"`, 'ended with exit code 7'],
    [
      `exec:'${process.execPath}' -e "console.log('Welcome!'); setTimeout(() => {}, 60000)"`,
      'the other side does not speak the multiplexer protocol',
    ],
  ])('%s', async (url, why) => {
    const group = new ProcessGroup();
    const host = group.start('host-agent', ...ONE_WORKER, '--connect', url);
    await until(why, () => logged(host).some((line) => line.includes(why)));
    await group.close();
  });

  it('a shim whose stdin ends before there was a link exits with 1', () => {
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, 'vm-shim', '--listen', 'stdio:'], {
      input: '',
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain('closed before its handshake');
  });

  it('a shim whose link the host agent has closed exits with 0', async () => {
    const child = spawn(process.execPath, [PROGRAM, 'vm-shim', '--listen', 'stdio:'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const exited = new Promise((resolve) => child.on('exit', resolve));
    const link = await establishLink(new TwoWay(child.stdout, child.stdin, () => child.stdin.end()), {
      identity: new LinkIdentity('host'),
      dialled: true,
      legacyPeer: false,
      log: silentLogger(),
      signal: new AbortController().signal,
      onChannel: () => {},
      onStreamReset: () => {},
    });
    link.close();
    expect(await exited).toBe(0);
  });
});
