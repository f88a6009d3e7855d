import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { reserveUnix } from '../../../shared/ports/reserve-unix.ts';

let directory: string;
let path: string;
const open: Array<() => unknown> = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'portferry-unix-'));
  path = join(directory, 'a.sock');
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
  rmSync(directory, { recursive: true, force: true });
});

async function reserve(at = path) {
  const reservation = await reserveUnix({ path: at });
  open.push(() => reservation.close());
  return reservation;
}

/** What a process leaves that was killed: the path of a socket that nobody listens on. */
async function leaveStaleSocket(at = path): Promise<void> {
  const program = `require('net').createServer().listen(${JSON.stringify(at)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', program]), 'exit');
  expect(lstatSync(at).isSocket()).toBe(true);
}

async function ask(at = path): Promise<string> {
  const client = connect({ path: at });
  const seen: Buffer[] = [];
  for await (const chunk of client) seen.push(chunk as Buffer);
  return Buffer.concat(seen).toString();
}

const answer = (socket: Socket) => {
  socket.on('error', () => {});
  socket.end('hello');
};

describe('reserveUnix', () => {
  it('forgets no client that comes before the reservation is told to its owner', async () => {
    const reserving = reserve();
    const client = await (async () => {
      for (;;) {
        const socket = connect({ path });
        const [event] = await Promise.race([
          once(socket, 'connect').then(() => ['connect']),
          once(socket, 'error').then(() => ['error']),
        ]).catch(() => ['error']);
        if (event === 'connect') return socket;
      }
    })();
    const reservation = await reserving;
    reservation.start(answer);
    const [first] = (await once(client, 'data')) as [Buffer];
    expect(first.toString()).toBe('hello');
    client.destroy();
  });

  it('serves its owner only, and leaves nothing but the socket', async () => {
    const reservation = await reserve();
    expect(reservation.port).toBe(0);
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual(['a.sock']);
    const early = ask();
    await new Promise((resolve) => setTimeout(resolve, 30));
    reservation.start(answer);
    expect(await early).toBe('hello');
    expect(await ask()).toBe('hello');
    await reservation.close();
    await reservation.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('ends clients that wait when it closes', async () => {
    const reservation = await reserve();
    const waiting = ask();
    await new Promise((resolve) => setTimeout(resolve, 30));
    await reservation.close();
    expect(await waiting.catch((error: NodeJS.ErrnoException) => error.code)).toMatch(/^$|ECONNRESET/);
  });

  it('replaces a stale socket of ours', async () => {
    await leaveStaleSocket();
    const reservation = await reserve();
    reservation.start(answer);
    expect(await ask()).toBe('hello');
    expect(readdirSync(directory)).toEqual(['a.sock']);
  });

  it('refuses a path where somebody listens, and leaves it', async () => {
    const other = createServer(answer);
    await once(other.listen(path), 'listening');
    open.push(() => other.close());
    await expect(reserveUnix({ path })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `Bind for ${path} failed: a process listens there`,
    });
    expect(await ask()).toBe('hello');
    expect(readdirSync(directory)).toEqual(['a.sock']);
  });

  it.each([
    ['a file', () => writeFileSync(path, 'precious')],
    ['a directory', () => mkdirSync(path)],
    ['a dangling link', () => symlinkSync(join(directory, 'nowhere'), path)],
  ])('refuses %s, and leaves it', async (_what, make) => {
    make();
    const before = lstatSync(path, { bigint: true }).ino;
    await expect(reserveUnix({ path })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `Bind for ${path} failed: it exists and is not a socket`,
    });
    expect(lstatSync(path, { bigint: true }).ino).toBe(before);
    expect(readdirSync(directory)).toEqual(['a.sock']);
  });

  it('refuses a link to a stale socket: it is not the socket', async () => {
    await leaveStaleSocket(join(directory, 'real.sock'));
    symlinkSync(join(directory, 'real.sock'), path);
    await expect(reserveUnix({ path })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    expect(readdirSync(directory).sort()).toEqual(['a.sock', 'real.sock']);
  });

  it.runIf(process.geteuid?.() === 0)('refuses a stale socket of another user', async () => {
    await leaveStaleSocket();
    chownSync(path, 12_345, 12_345);
    await expect(reserveUnix({ path })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `Bind for ${path} failed: its socket is of user 12345`,
    });
    expect(existsSync(path)).toBe(true);
  });

  it('close leaves what somebody else has put at its path', async () => {
    const reservation = await reserve();
    rmSync(path);
    writeFileSync(path, 'precious');
    await reservation.close();
    expect(readdirSync(directory)).toEqual(['a.sock']);

    rmSync(path);
    const first = await reserve();
    rmSync(path);
    const second = await reserve();
    second.start(answer);
    await first.close();
    expect(await ask()).toBe('hello');
  });

  it('of many at once one wins, also over a stale socket', async () => {
    for (let round = 0; round < 20; round++) {
      if (round % 2 === 1) await leaveStaleSocket();
      const results = await Promise.allSettled(Array.from({ length: 8 }, () => reserveUnix({ path })));
      const won = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      expect(won).toHaveLength(1);
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'PORT_IN_USE' });
      }
      won[0]!.start(answer);
      expect(await ask()).toBe('hello');
      await won[0]!.close();
      expect(readdirSync(directory)).toEqual([]);
    }
  });

  it('takes the longest path that clients can name, and no longer one', async () => {
    const longest = join(directory, 'x'.repeat(107 - directory.length - 1));
    if (existsSync('/proc/self/fd')) {
      const reservation = await reserve(longest);
      reservation.start(answer);
      expect(await ask(longest)).toBe('hello');
      await reservation.close();
    }
    await expect(reserveUnix({ path: `${longest}x` })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    expect(readdirSync(directory)).toEqual([]);
    const deep = join(directory, 'y'.repeat(107 - directory.length - 3));
    mkdirSync(deep);
    if (existsSync('/proc/self/fd')) {
      await reserve(join(deep, 'z'));
      expect(readdirSync(deep)).toEqual(['z']);
    }
  });

  it('says when its directory is missing', async () => {
    await expect(reserveUnix({ path: join(directory, 'no', 'a.sock') })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `Bind for ${join(directory, 'no', 'a.sock')} failed: its directory does not exist`,
    });
  });
});
