/** Group `9p`: the control filesystems of both sides, mounted by the kernel's own client. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { hostPort, loopback, PROGRAM, until } from '../../helpers/processes.ts';
import { refuses, roundTrip } from '../../helpers/stream-client.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import { mustRun } from '../programs.ts';
import { mountCases } from './p9-cases.ts';
import { codeOf, DIALECTS, hold, mountAt, unmount } from './p9-mount.ts';
import { type Server, Sides, TCP_PORT } from './p9-sides.ts';
import { proxyCases } from './proxy-cases.ts';

export async function run(cases: Cases): Promise<void> {
  same(spawnSync('modprobe', ['-a', '9pnet_fd', '9p']).status, 0, 'modprobe 9pnet_fd 9p');
  const folder = mkdtempSync('/tmp/9p-');
  const sides = await Sides.start(folder);
  try {
    for (const server of ['host', 'shim'] as const) await unixCases(cases, sides, server);
    await otherTransports(cases, sides);
    const port = `${folder}/port`;
    await mountCommand(cases, sides, port);
    await proxyCases(cases, sides, port);
    await unmount(port);
  } finally {
    await sides.close();
  }
}

async function unixCases(cases: Cases, sides: Sides, server: Server): Promise<void> {
  const mounts = DIALECTS.map((dialect) => ({
    what: `${server}, ${dialect}`,
    point: `${sides.folder}/${server}-${dialect}`,
    source: sides.socket(server),
    options: `trans=unix,version=${dialect}`,
  }));
  for (const mount of mounts) {
    const { what, point, source, options } = mount;
    if (!(await cases.case(`${what}: mount`, () => mountAt(point, source, options)))) continue;
    await mountCases(cases, mount, sides.containers);
  }
  await cases.case(`${server}: killed under its mounts they say EIO; umount, and mount again`, async () => {
    const holders = await Promise.all(
      mounts.map(({ point }, index) =>
        hold(`${point}/held-${index}`, loopback('tcp', sides.containers.echo)),
      ),
    );
    await sides.killServer(server);
    for (const { what, point } of mounts)
      await until(`EIO of ${what}`, async () => (await codeOf(readdir(point))) === 'EIO', WAIT_MS);
    for (const { running, answer } of holders) {
      await running.kill('SIGKILL');
      // Of a shim that is gone the host agent keeps the ports for a while, in case it comes back.
      if (server === 'host')
        same(await refuses(hostPort(answer.slice('OK '.length))), true, 'the port refuses');
    }
    for (const { point } of mounts) await unmount(point);
    await sides.startServer(server);
    for (const { point, source, options } of mounts) {
      await mountAt(point, source, options);
      const { running, answer } = await hold(`${point}/again`, loopback('tcp', sides.containers.echo));
      try {
        same(await roundTrip(hostPort(answer.slice('OK '.length)), 'again'), 'again', 'the echo');
      } finally {
        await running.kill('SIGKILL');
      }
      await unmount(point);
    }
  });
}

async function otherTransports(cases: Cases, sides: Sides): Promise<void> {
  const tcp = {
    what: 'host, trans=tcp',
    point: `${sides.folder}/tcp`,
    source: '127.0.0.1',
    options: `trans=tcp,port=${TCP_PORT},version=9p2000.L`,
  };
  if (await cases.case(`${tcp.what}: mount`, () => mountAt(tcp.point, tcp.source, tcp.options))) {
    await mountCases(cases, tcp, sides.containers);
    await cases.case(`${tcp.what}: umount`, () => unmount(tcp.point));
  }
  await cases.case('shim, trans=fd: a descriptor that is handed over', async () => {
    const point = `${sides.folder}/fd`;
    await mustRun('mkdir', point);
    const socket = await untouched(sides.socket('shim'));
    const words = ['-t', '9p', '-o', 'trans=fd,rfdno=3,wfdno=3,version=9p2000.L,cache=none', 'none', point];
    const child = spawn('mount', words, { stdio: ['ignore', 'ignore', 'inherit', socket] });
    same(await once(child, 'close'), [0, null], 'how mount ended');
    const { running, answer } = await hold(`${point}/web`, loopback('tcp', sides.containers.echo));
    same(await roundTrip(hostPort(answer.slice('OK '.length)), 'by fd'), 'by fd', 'the echo');
    await running.kill('SIGKILL');
    await unmount(point);
    socket.destroy();
  });
}

/** A connection of which nothing is read here. */
function untouched(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.pause();
    socket.once('error', reject);
    socket.once('connect', () => resolve(socket));
  });
}

/** Leaves it mounted. */
async function mountCommand(cases: Cases, sides: Sides, point: string): Promise<void> {
  const mount = () =>
    mustRun(
      process.execPath,
      PROGRAM,
      'vm-shim',
      'mount',
      point,
      '--port-fs',
      `unix://${sides.socket('shim')}`,
    );
  await cases.case('vm-shim mount: mounts, and leaves what is mounted', async () => {
    same(await mount(), `${point} is mounted`, 'what it says');
    same(await mount(), `${point} is mounted already`, 'what it says again');
  });
  await cases.case('vm-shim mount: replaces the mount of a shim that is gone', async () => {
    const { running } = await hold(`${point}/lost`, loopback('tcp', sides.containers.echo));
    await sides.killServer('shim');
    matches(await mount().catch(String), /no control filesystem to mount: .*9p-.*control\.sock/, 'the error');
    await sides.startServer('shim');
    same(await mount(), `${point} is mounted`, 'what it says');
    same(await readdir(point), ['README'], 'what is there');
    await running.kill('SIGKILL');
  });
}
