/** Against real sockets of this process and another. */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type ListenOptions } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { diagnosis } from '../../../../shared/ports/diagnosis/linux.ts';
import { findProcess } from '../../../../shared/ports/diagnosis/proc-fd.ts';

const open: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function listening(options: ListenOptions): Promise<number> {
  const server = createServer().listen(options);
  await once(server, 'listening');
  open.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

describe.skipIf(process.platform !== 'linux')('the holder of a port on Linux', () => {
  const us = { process: { pid: process.pid, command: expect.any(String) } };
  const find = (ip: string, port: number, protocol: 'tcp' | 'udp' = 'tcp') =>
    diagnosis.findHolder({ protocol, ip, port });

  it('is found at the address, at the wildcard, and below it', async () => {
    const one = await listening({ host: '127.0.0.1', port: 0 });
    expect(await find('127.0.0.1', one)).toMatchObject({ where: `127.0.0.1:${one}`, ...us });
    expect(await find('0.0.0.0', one)).toMatchObject({ where: `127.0.0.1:${one}`, ...us });
    expect(await find('127.0.0.2', one)).toBeUndefined();
    const any = await listening({ host: '0.0.0.0', port: 0 });
    expect(await find('127.0.0.1', any)).toMatchObject({ where: `0.0.0.0:${any}`, ...us });
  });

  it('is the one that listens, not a client of it', async () => {
    const port = await listening({ host: '127.0.0.1', port: 0 });
    const client = connect(port, '127.0.0.1');
    open.push(() => client.destroy());
    await once(client, 'connect');
    expect(await find('127.0.0.1', port)).toMatchObject(us);
    // The port of the client is taken too.
    expect(await find('127.0.0.1', client.localPort!)).toMatchObject(us);
  });

  it('is found for UDP and for a path', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    open.push(() => socket.close());
    const { port } = socket.address();
    expect(await find('0.0.0.0', port, 'udp')).toMatchObject({ where: `127.0.0.1:${port}`, ...us });
    expect(await find('127.0.0.1', port, 'tcp')).toBeUndefined();
    const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
    open.push(() => rmSync(dir, { recursive: true }));
    const path = join(dir, 'a socket');
    await listening({ path });
    expect(await diagnosis.findHolder({ protocol: 'unix', path })).toMatchObject({ where: path, ...us });
  });

  it('is named by the name that its process goes by', async () => {
    const child = spawn('sleep', ['60'], { stdio: ['pipe', 'ignore', 'ignore'] });
    open.push(() => child.kill('SIGKILL'));
    await once(child, 'spawn');
    // What Node gives a child as a pipe is a unix socket; its inode is in the link.
    const { readlinkSync } = await import('node:fs');
    const inode = /socket:\[(\d+)\]/.exec(readlinkSync(`/proc/${child.pid}/fd/0`))?.[1];
    expect(inode).toBeDefined();
    const comm = readFileSync(`/proc/${child.pid}/comm`, 'utf8').trimEnd();
    expect(await findProcess(inode!)).toEqual({ pid: child.pid, command: comm });
  });

  it('is not looked for beyond bounds, nor by many at once', async () => {
    const port = await listening({ host: '127.0.0.1', port: 0 });
    expect(await findProcess('0', { ms: 0, descriptors: 10 })).toBeUndefined();
    expect(await findProcess('0', { ms: 1_000, descriptors: 0 })).toBeUndefined();
    const all = await Promise.all(Array.from({ length: 20 }, () => find('127.0.0.1', port)));
    expect(all.every((each) => each?.where === `127.0.0.1:${port}`)).toBe(true);
    expect(all.some((each) => each?.process?.pid === process.pid)).toBe(true);
    expect(all.some((each) => each?.process === undefined)).toBe(true);
  });
});
