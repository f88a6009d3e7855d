import type { Socket } from 'node:net';
import { afterAll, expect, it } from 'vitest';
import { mib, residentBytes } from '../../helpers/process-figures.ts';
import { loopback, until } from '../../helpers/processes.ts';
import { silentSink } from '../../helpers/silent-sink.ts';
import { connectTo, fateOf, readExactly } from '../../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../../helpers/stream-server.ts';
import type { Carrier } from './carrier.ts';

const MAX_GROWTH = 64 * 1024 * 1024;
const BLOCK = Buffer.alloc(256 * 1024, 'portferry');
/** Looks in a row that must find no byte more before a transfer counts as stalled. */
const STILL_LOOKS = 60;

/** Writes without end, as fast as the socket takes it. */
function flood(socket: Socket): { taken: () => number } {
  let taken = 0;
  const more = (): void => {
    if (socket.destroyed) return;
    socket.write(BLOCK, (error) => {
      if (error) return;
      taken += BLOCK.length;
      more();
    });
  };
  more();
  return { taken: () => taken };
}

/** A container whose clients say first what they want: `b` bulk without end, `e` an echo. */
function bulkOrEcho(onFlood: (taken: () => number) => void): Promise<StreamServer> {
  return serveStreams((socket) => {
    socket.once('data', (first: Buffer) => {
      if (first.toString('latin1', 0, 1) === 'b') return onFlood(flood(socket).taken);
      socket.unshift(first.subarray(1));
      socket.pipe(socket);
    });
  });
}

/** Waits until a count no longer grows, and answers it. */
async function untilStalled(what: string, count: () => number): Promise<number> {
  let last = -1;
  let looks = 0;
  return until(`${what} to stall`, () => {
    looks = count() === last ? looks + 1 : 0;
    last = count();
    return last > 0 && looks >= STILL_LOOKS && last;
  });
}

export function slowReaders(carrier: Carrier): void {
  const containers: StreamServer[] = [];

  afterAll(async () => {
    await Promise.all(containers.map((container) => container.close()));
  });

  const publish = async (container: StreamServer): Promise<{ spec: string; port: number }> => {
    containers.push(container);
    return carrier.pair.expose(loopback('tcp', container.port));
  };

  const memory = (): { host: number; shim: number } => ({
    host: residentBytes(carrier.pair.host.pid),
    shim: residentBytes(carrier.pair.shim.pid),
  });

  const expectFlat = (what: string, before: ReturnType<typeof memory>, stalledAt: number): void => {
    const after = memory();
    const host = after.host - before.host;
    const shim = after.shim - before.shim;
    console.log(
      `${carrier.lane}, ${what}: stalled after ${mib(stalledAt)}; host ${mib(before.host)} + ${mib(host)}, shim ${mib(before.shim)} + ${mib(shim)}`,
    );
    expect(host).toBeLessThan(MAX_GROWTH);
    expect(shim).toBeLessThan(MAX_GROWTH);
  };

  it('a client that never reads stops a container that sends without end', async () => {
    let sent = (): number => 0;
    const { spec, port } = await publish(
      await serveStreams((socket) => {
        sent = flood(socket).taken;
      }),
    );
    const before = memory();
    const client = await connectTo(port);
    client.pause();
    const stalledAt = await untilStalled('the container', () => sent());
    expectFlat('client never reads', before, stalledAt);

    // It is a stall and no dead end: whoever begins to read gets it all, and more than was under way.
    const target = stalledAt + 20 * 1024 * 1024;
    let received = 0;
    client.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    client.resume();
    await until('the transfer to go on', () => received > target);
    client.resetAndDestroy();
    await carrier.pair.quiet(spec);
  });

  it('a container that never reads stops a client that sends without end', async () => {
    const container = await silentSink();
    const { spec, port } = await publish(container);
    const before = memory();
    const client = await connectTo(port);
    const sent = flood(client).taken;
    const stalledAt = await untilStalled('the client', sent);
    expectFlat('container never reads', before, stalledAt);

    const [socket] = container.sockets;
    const target = stalledAt + 20 * 1024 * 1024;
    let received = 0;
    socket!.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    socket!.resume();
    await until('the transfer to go on', () => received > target);
    client.resetAndDestroy();
    await carrier.pair.quiet(spec);
  });

  it('fifty round trips complete beside a connection that saturates the forward', async () => {
    const { spec, port } = await publish(await bulkOrEcho(() => {}));
    const bulk = await connectTo(port);
    bulk.write('b');
    const bulkFate = fateOf(bulk);
    await until('the bulk transfer to run', () => bulk.bytesRead > 10 * BLOCK.length);

    const small = await connectTo(port);
    small.write('e'); // it asks for an echo
    const before = bulk.bytesRead;
    let slowest = 0;
    for (let i = 0; i < 50; i++) {
      const message = `round trip ${i}`;
      const begun = performance.now();
      small.write(message);
      expect((await readExactly(small, message.length)).toString()).toBe(message);
      slowest = Math.max(slowest, performance.now() - begun);
    }
    expect(bulk.bytesRead).toBeGreaterThan(before);
    console.log(
      `${carrier.lane}: 50 round trips beside ${mib(bulk.bytesRead - before)} of bulk, the slowest ${slowest.toFixed(0)} ms`,
    );
    bulk.resetAndDestroy();
    await bulkFate;
    small.end();
    await carrier.pair.quiet(spec);
  });

  it('a client that never reads holds up no other client of its forward', async () => {
    const floods: Array<() => number> = [];
    const { spec, port } = await publish(await bulkOrEcho((taken) => floods.push(taken)));
    const stuck = await Promise.all(Array.from({ length: 8 }, () => connectTo(port)));
    for (const socket of stuck) socket.pause().write('b');
    await until('all to be connected', () => floods.length === stuck.length);
    await untilStalled('all of them', () => floods.reduce((sum, taken) => sum + taken(), 0));

    const small = await connectTo(port);
    small.write('e'); // it asks for an echo
    for (let i = 0; i < 50; i++) {
      small.write(`trip ${i}`);
      expect((await readExactly(small, `trip ${i}`.length)).toString()).toBe(`trip ${i}`);
    }
    small.end();
    for (const socket of stuck) socket.resetAndDestroy();
    await carrier.pair.quiet(spec);
  });
}
