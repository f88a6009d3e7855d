import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { silentLogger } from '../../shared/logger.ts';
import { P9Client } from '../../shared/p9/client.ts';
import { claimPort } from '../../shared/portfs/claim-port.ts';
import { PortServer } from '../../shared/portfs/port-server.ts';
import { FakeDoor } from '../unit/portfs/fake-door.ts';

const SPEC = 'tcp:127.0.0.1:0:tcp:172.17.0.2:80';
const RESOLVED = 'tcp:127.0.0.1:49153:tcp:172.17.0.2:80';

let directory: string;
let address: string;
let listener: Server;
let server: PortServer;
let door: FakeDoor;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'portferry-p9-'));
  // Windows has pipes where others have socket files.
  address =
    process.platform === 'win32'
      ? `\\\\.\\pipe\\${directory.replaceAll('\\', '-')}`
      : join(directory, 'port.sock');
  door = new FakeDoor();
  server = new PortServer({ log: silentLogger() });
  listener = createServer((socket) => server.serve(socket, door)).listen(address);
  await once(listener, 'listening');
});

afterEach(async () => {
  await server.close();
  await new Promise((resolve) => listener.close(resolve));
  await rm(directory, { recursive: true, force: true });
});

async function dial(): Promise<Socket> {
  const socket = connect(address);
  await once(socket, 'connect');
  return socket;
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !condition(); turn++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(condition()).toBe(true);
}

it('two connections see one tree, and each loses only what is its own', async () => {
  const claim = await claimPort(await dial(), 'one', SPEC);
  expect(claim.resolved).toBe(RESOLVED);
  const socket = await dial();
  const other = await P9Client.connect(socket, { dialect: '9P2000.L' });

  const root = await other.walk([]);
  await other.open(root, 'read');
  expect((await other.readdir(root)).map(({ name }) => name)).toEqual(['README', 'one']);
  const ctl = await other.walk(['one', 'ctl']);
  await other.open(ctl, 'read');
  expect(Buffer.from(await other.read(ctl, 0, 100)).toString()).toBe(`OK ${RESOLVED}\n`);
  await other.clunk(ctl);
  await expect(other.mkdir('one')).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });

  await other.mkdir('two');
  const held = await other.walk(['two', 'ctl']);
  await other.open(held, 'read-write');
  await other.write(held, 0, Buffer.from('tcp:two'));
  expect([...door.bound]).toEqual([RESOLVED, 'tcp:two']);
  socket.destroy();
  await until(() => !door.bound.has('tcp:two'));
  expect([...door.bound]).toEqual([RESOLVED]);

  await claim.release();
  expect([...door.bound]).toEqual([]);
  await until(() => server.connections.used === 0);
  expect(server.entries.used).toBe(0);
});

it('garbage ends its own connection only', async () => {
  const claim = await claimPort(await dial(), 'one', SPEC);
  const bad = await dial();
  bad.on('error', () => {});
  bad.write('GET / HTTP/1.1\r\n\r\n');
  await once(bad.resume(), 'close');
  expect([...door.bound]).toEqual([RESOLVED]);
  await claim.release();
});

it('the end of the server ends what was claimed and tells the claimer', async () => {
  const claim = await claimPort(await dial(), 'one', SPEC, { dialect: '9P2000.u' });
  await server.close();
  expect([...door.bound]).toEqual([]);
  expect(await claim.closed).toMatchObject({ code: 'LINK_LOST' });
});

it('two thousand forwards made and stopped leave nothing behind', async () => {
  const client = await P9Client.connect(await dial());
  for (let turn = 0; turn < 2000; turn++) {
    await client.mkdir('web');
    const ctl = await client.walk(['web', 'ctl']);
    await client.open(ctl, 'read-write');
    await client.write(ctl, 0, Buffer.from(SPEC));
    await client.clunk(ctl);
  }
  expect([...door.bound]).toEqual([]);
  expect(server.entries.used).toBe(0);
  expect(door.asked).toHaveLength(2000);
  client.close();
});
