/** Services of the host that are published in the VM: here both are this machine. */
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { callApi } from '../../helpers/api.ts';
import { digestServer } from '../../helpers/digest-server.ts';
import { lastingPort } from '../../helpers/lasting-port.ts';
import { until } from '../../helpers/processes.ts';
import { exposeReverse, reverseSpec } from '../../helpers/reverse.ts';
import {
  connectTo,
  fateOf,
  fateOfNew,
  readExactly,
  refuses,
  roundTrip,
} from '../../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../../helpers/stream-server.ts';
import { tcpEcho } from '../../helpers/tcp-echo.ts';
import { digestOf, sendBytes } from '../../helpers/test-bytes.ts';
import { type Carrier, SERVICES } from './carrier.ts';

const TOTAL = 12_000_000;
const base64 = (path: string): string => Buffer.from(path).toString('base64');

export function reverseForwards(carrier: Carrier): void {
  let echo: StreamServer;
  /** Answers an upload, once it has ended, with its digest. */
  let digest: StreamServer;

  beforeAll(async () => {
    mkdirSync(SERVICES);
    echo = await tcpEcho();
    digest = await digestServer();
  });

  afterAll(async () => {
    await echo?.close();
    await digest?.close();
    rmSync(SERVICES, { recursive: true, force: true });
  });

  it('carries clients of the VM to a service of the host, half-closes kept, and counts them', async () => {
    const { spec, port } = await exposeReverse(carrier.pair, reverseSpec(digest.port));
    const upload = await connectTo(port);
    sendBytes(upload, 7, TOTAL);
    expect((await readExactly(upload, 64)).toString()).toBe(digestOf(7, TOTAL));
    upload.destroy();
    await carrier.pair.quiet(spec);
    expect(await carrier.pair.stats(spec)).toMatchObject({ connections: 1, bytes_up: TOTAL, bytes_down: 64 });
  });

  it('tells resets from ends, both ways, and a service that is not there', async () => {
    const { port } = await exposeReverse(carrier.pair, reverseSpec(echo.port));
    const client = await connectTo(port);
    client.write('hello');
    expect((await readExactly(client, 5)).toString()).toBe('hello');
    const [served] = [...echo.sockets].slice(-1);
    const fate = fateOf(client);
    served!.resetAndDestroy();
    expect((await fate).how).toBe('ECONNRESET');
    const other = await connectTo(port);
    other.write('hello');
    await readExactly(other, 5);
    const [theirs] = [...echo.sockets].slice(-1);
    const end = fateOf(theirs!);
    other.resetAndDestroy();
    expect((await end).how).toBe('ECONNRESET');
    const nobody = await exposeReverse(carrier.pair, reverseSpec(await lastingPort()));
    expect((await fateOfNew(nobody.port)).how).toBe('ECONNRESET');
    await until('it to be counted', async () => (await carrier.pair.stats(nobody.spec)).dial_failures === 1);
  });

  it('carries unix sockets, and follows no link out of the directory that is allowed', async () => {
    const [service, outside] = [join(SERVICES, 'service.sock'), join(carrier.pair.dir, 'outside.sock')];
    const inVm = join(carrier.pair.dir, 'in-vm.sock');
    const server = await serveStreams((socket) => socket.pipe(socket), service);
    const other = await serveStreams((socket) => socket.pipe(socket), outside);
    const spec = `reverse:unix:${base64(service)}:unix:${base64(inVm)}`;
    try {
      expect((await callApi(carrier.pair.api, 'POST', { spec })).status).toBe(201);
      expect(await roundTrip(inVm, 'hello')).toBe('hello');
      rmSync(service);
      symlinkSync(outside, service);
      const client = await connectTo(inVm);
      expect((await fateOf(client)).bytes).toBe(0);
      expect([other.accepted(), (await carrier.pair.stats(spec)).dial_failures]).toEqual([0, 1]);
    } finally {
      await server.close();
      await other.close();
      rmSync(service, { force: true });
    }
  });

  it('is removed with its connections when that is asked for', async () => {
    const { spec, port } = await exposeReverse(carrier.pair, reverseSpec(echo.port));
    const client = await connectTo(port);
    client.write('hello');
    await readExactly(client, 5);
    const fate = fateOf(client);
    expect((await callApi(carrier.pair.api, 'DELETE', { spec, now: true })).status).toBe(200);
    expect((await fate).how).toBe('ECONNRESET');
    await until('the port to be closed', () => refuses(port));
  });
}
