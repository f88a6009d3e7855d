/** What the host may have dialled in the VM, on every lane and engine. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lanesAndEngines } from '../helpers/engines.ts';
import { logLines, loopback, Pair, unixSpec, until } from '../helpers/processes.ts';
import { connectTo, fateOfNew, readAll, roundTrip } from '../helpers/stream-client.ts';
import type { StreamServer } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';
import { udpEcho, udpPeer } from '../helpers/udp-peer.ts';

describe.each(lanesAndEngines)('%s lane, %s engine', (lane, engine) => {
  let dir: string;
  let pair: Pair;
  let echo: StreamServer;
  const open: Array<{ close(): Promise<void> }> = [];
  const track = async <T extends { close(): Promise<void> }>(what: Promise<T>): Promise<T> => {
    open.push(await what);
    return what;
  };

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'portferry-'));
    for (const name of ['allowed', 'outside']) mkdirSync(join(dir, name));
    echo = await track(tcpEcho());
    const allowed = [`127.0.0.1:${echo.port}`, `unix:${dir}/allowed`];
    pair = await Pair.start(
      lane,
      engine,
      allowed.flatMap((each) => ['--allow-destination', each]),
    );
  });

  afterAll(async () => {
    await pair?.close();
    await Promise.all(open.map((each) => each.close()));
    rmSync(dir, { recursive: true, force: true });
  });

  const refusals = () =>
    logLines(pair.shim.stderr()).filter(({ msg }) => msg?.includes('may not be dialled'));

  it('what is allowed is reached, the rest is reset before it is dialled', async () => {
    const allowed = await pair.expose(loopback('tcp', echo.port));
    expect(await roundTrip(allowed.port, 'hello')).toBe('hello');
    const other = await track(tcpEcho());
    const refused = await pair.expose(loopback('tcp', other.port));
    expect(await fateOfNew(refused.port, 'hello')).toMatchObject({ how: 'ECONNRESET', bytes: 0 });
    expect(other.accepted()).toBe(0);
    await until('the line of the log', () => refusals().length > 0);
    expect(refusals()[0]!.msg).toContain(`127.0.0.1:${other.port}`);
  });

  it('a unix socket is one in the directory, wherever links lead', async () => {
    await track(tcpEcho(join(dir, 'allowed/x.sock')));
    const outside = await track(tcpEcho(join(dir, 'outside/x.sock')));
    symlinkSync(join(dir, 'outside/x.sock'), join(dir, 'allowed/link.sock'));
    const at = async (path: string): Promise<string> => {
      const host = join(pair.dir, `${path.replaceAll('/', '-')}`);
      await pair.expose(unixSpec(host, join(dir, path)));
      const socket = await connectTo(host);
      socket.on('error', () => {});
      socket.end('by path');
      return (await readAll(socket).catch(() => '')).toString();
    };
    expect(await at('allowed/x.sock')).toBe('by path');
    expect(await at('outside/x.sock')).toBe('');
    expect(await at('allowed/link.sock')).toBe('');
    expect(outside.accepted()).toBe(0);
  });

  it('datagrams go nowhere else either', async () => {
    const container = await track(udpEcho());
    const client = await track(udpPeer());
    const { port } = await pair.expose(loopback('udp', container.port));
    let looks = 0;
    await until('the refusal', () => {
      if (looks++ % 20 === 0) client.send(Buffer.from('hello'), port);
      return refusals().some(({ msg }) => msg?.includes(`:${container.port}`) === true);
    });
    expect(client.received).toEqual([]);
  });
});
