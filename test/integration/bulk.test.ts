import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lanesAndEngines } from '../helpers/engines.ts';
import { loopback, Pair } from '../helpers/processes.ts';
import { connectTo } from '../helpers/stream-client.ts';
import { type StreamServer, serveStreams } from '../helpers/stream-server.ts';
import { digestOf, receiveBytes, sendBytes } from '../helpers/test-bytes.ts';

const TOTAL = 200_000_000;
const UP = 1;
const DOWN = 2;

let expected: { up: string; down: string };
beforeAll(() => {
  expected = { up: digestOf(UP, TOTAL), down: digestOf(DOWN, TOTAL) };
  expect(expected.up).not.toBe(expected.down);
});

describe.each(lanesAndEngines)('%s lane, %s engine', (lane, engine) => {
  let pair: Pair;
  let container: StreamServer;
  let atContainer: Promise<{ digest: string; bytes: number }>;

  beforeAll(async () => {
    pair = await Pair.start(lane, engine);
    container = await serveStreams((socket) => {
      atContainer = receiveBytes(socket);
      sendBytes(socket, DOWN, TOTAL);
    });
  });

  afterAll(async () => {
    await pair?.close();
    await container?.close();
  });

  it('carries 200 MB each way at once through one connection', async () => {
    const { spec, port } = await pair.expose(loopback('tcp', container.port));
    const client = await connectTo(port);
    const begun = performance.now();
    const down = receiveBytes(client);
    sendBytes(client, UP, TOTAL);
    expect(await down).toEqual({ digest: expected.down, bytes: TOTAL });
    expect(await atContainer).toEqual({ digest: expected.up, bytes: TOTAL });
    const seconds = (performance.now() - begun) / 1000;
    console.log(`${lane}: 200 MB each way in ${seconds.toFixed(1)} s`);
    expect(container.accepted()).toBe(1);
    await pair.quiet(spec);
    expect(await pair.stats(spec)).toMatchObject({
      connections: 1,
      active: 0,
      bytes_up: TOTAL,
      bytes_down: TOTAL,
      resets: 0,
    });
  });
});
