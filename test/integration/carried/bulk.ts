import { afterAll, beforeAll, expect, it } from 'vitest';
import { loopback } from '../../helpers/processes.ts';
import { connectTo } from '../../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../../helpers/stream-server.ts';
import { digestOf, receiveBytes, sendBytes } from '../../helpers/test-bytes.ts';
import type { Carrier } from './carrier.ts';

const TOTAL = 200_000_000;
const UP = 1;
const DOWN = 2;

export function bulk(carrier: Carrier): void {
  let container: StreamServer;
  let atContainer: Promise<{ digest: string; bytes: number }>;

  beforeAll(async () => {
    container = await serveStreams((socket) => {
      atContainer = receiveBytes(socket);
      sendBytes(socket, DOWN, TOTAL);
    });
  });

  afterAll(async () => {
    await container?.close();
  });

  it('carries 200 MB each way at once through one connection', async () => {
    const { spec, port } = await carrier.pair.expose(loopback('tcp', container.port));
    const client = await connectTo(port);
    const begun = performance.now();
    const down = receiveBytes(client);
    sendBytes(client, UP, TOTAL);
    const atClient = await down;
    const inVm = await atContainer;
    const seconds = (performance.now() - begun) / 1000;
    console.log(`${carrier.lane}: 200 MB each way in ${seconds.toFixed(1)} s`);
    const expected = { up: digestOf(UP, TOTAL), down: digestOf(DOWN, TOTAL) };
    expect(expected.up).not.toBe(expected.down);
    expect(atClient).toEqual({ digest: expected.down, bytes: TOTAL });
    expect(inVm).toEqual({ digest: expected.up, bytes: TOTAL });
    expect(container.accepted()).toBe(1);
    await carrier.pair.quiet(spec);
    expect(await carrier.pair.stats(spec)).toMatchObject({
      connections: 1,
      active: 0,
      bytes_up: TOTAL,
      bytes_down: TOTAL,
      resets: 0,
    });
  });
}
