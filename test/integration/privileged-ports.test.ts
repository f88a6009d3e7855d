/** Ports that the system denies to the user of the host agent, and those that are taken at every address for one. */
import { chmodSync, chownSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { callApi } from '../helpers/api.ts';
import { engines } from '../helpers/engines.ts';
import { lastingPort } from '../helpers/lasting-port.ts';
import {
  loopback,
  Pair,
  PROGRAM,
  ProcessGroup,
  runPortferry,
  startProgram,
  until,
} from '../helpers/processes.ts';
import { connectTo, fateOf, readAll, refuses } from '../helpers/stream-client.ts';
import { serveStreams } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

const NOBODY = 65_534;
const LEAST_PORT = '/proc/sys/net/ipv4/ip_unprivileged_port_start';

let open: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of open.reverse()) await close();
  open = [];
});

/** Why no user can be denied port 81 here, or undefined. */
function obstacle(): string | undefined {
  if (process.platform !== 'linux') return `this is ${process.platform}`;
  const least = Number(readFileSync(LEAST_PORT, 'utf8'));
  return least > 81 ? undefined : `any user may take ports from ${least} on (${LEAST_PORT})`;
}

describe.each(engines)('a port that is denied, %s engine', (engine) => {
  it('comes with what would help, over the API, by expose and by claim', async (context) => {
    const reason = obstacle();
    if (reason !== undefined) {
      console.log(`skipped: ${reason}`);
      return context.skip(reason);
    }
    const group = new ProcessGroup();
    open.push(() => group.close());
    const api = `${group.dir}/api.sock`;
    const control = group.unixUrl('control.sock');
    const args = [PROGRAM, 'host-agent', '--connect', group.unixUrl('shim.sock'), '--engine', engine];
    args.push('--api', api, '--control', control);
    // Root becomes nobody; whoever else runs the tests is denied the port as he is.
    const root = process.geteuid?.() === 0;
    const drop = ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups', process.execPath];
    if (root) chownSync(group.dir, NOBODY, NOBODY);
    chmodSync(group.dir, 0o700);
    const host = startProgram(root ? 'setpriv' : process.execPath, [...(root ? drop : []), ...args]);
    open.push(() => host.kill('SIGKILL'));
    await until('the host agent', () => {
      if (host.child.exitCode !== null) throw new Error(host.stderr());
      return host.stderr().includes('the host agent is ready');
    });
    // He may have any other port, whatever else the engine asks of the system for it.
    for (const protocol of ['tcp', 'udp'])
      expect(
        (await callApi(api, 'POST', { spec: `${protocol}:127.0.0.1:0:${protocol}:127.0.0.1:80` })).status,
      ).toBe(201);
    const spec = 'tcp:127.0.0.1:81:tcp:127.0.0.1:80';
    const { status, body } = await callApi(api, 'POST', { spec });
    expect([status, body]).toEqual([
      403,
      {
        code: 'PERMISSION_DENIED',
        message: expect.stringMatching(
          /^Bind for 127\.0\.0\.1:81 failed: permission denied: ports below \d+ need a privilege: sysctl net\.ipv4\.ip_unprivileged_port_start=81 lowers that limit, setcap cap_net_bind_service=\+ep \S+ gives it to node; or take a port from \d+ on$/,
        ),
      },
    ]);
    for (const args of [
      ['expose', spec, '--api', api],
      ['claim', spec, '--control', control],
    ]) {
      const { code, stderr } = await runPortferry(...args);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/net\.ipv4.*\[PERMISSION_DENIED\]\n$/)]);
    }
  });
});

describe.skipIf(process.platform !== 'linux')('--wildcard-privileged', () => {
  const dial = async (host: string, port: number): Promise<string> => {
    const { connect } = await import('node:net');
    const socket = connect({ host, port });
    return fateOf(socket).then(({ how }) => how);
  };

  // Only macOS denies one address and gives all: what it does then is done here for a port that anybody may have.
  it('listens at all addresses and serves the one that was asked for', async () => {
    const pair = await Pair.start('auto', 'portable', [], ['--wildcard-below', '65536']);
    open.push(() => pair.close());
    const [echo, hello] = await Promise.all([
      tcpEcho(),
      serveStreams((socket) => void socket.resume().end('hello')),
    ]);
    open.push(
      () => echo.close(),
      () => hello.close(),
    );
    const port = await lastingPort();
    const { spec } = await pair.expose(loopback('tcp', hello.port, port));
    expect((await readAll(await connectTo(port))).toString()).toBe('hello');
    expect(await dial('127.0.0.2', port)).toBe('ECONNRESET');
    const other = await pair.expose(`tcp:127.0.0.2:${port}:tcp:127.0.0.1:${echo.port}`);
    const taken = await callApi(pair.api, 'POST', { spec: `tcp:0.0.0.0:${port}:tcp:127.0.0.1:1` });
    expect(taken.body).toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining('VM "default" has'),
    });
    await callApi(pair.api, 'DELETE', { spec });
    expect(await dial('127.0.0.1', port)).toBe('ECONNRESET');
    await callApi(pair.api, 'DELETE', { spec: other.spec });
    expect(await refuses(port)).toBe(true);

    const waits = await pair.expose(`${loopback('tcp', hello.port, port)}?wait=listening`);
    await until('the port to listen', async () => !(await refuses(port)));
    expect((await readAll(await connectTo(port))).toString()).toBe('hello');
    expect(await dial('127.0.0.2', port)).toBe('ECONNRESET');
    await callApi(pair.api, 'DELETE', { spec: waits.spec });
    expect(await refuses(port)).toBe(true);
  });

  it.skipIf(!engines.includes('linux'))('says that it does nothing on the Linux engine', async () => {
    const pair = await Pair.start('auto', 'linux', [], ['--wildcard-privileged']);
    open.push(() => pair.close());
    expect(pair.host.stderr()).toContain('--wildcard-privileged does nothing here');
  });
});
