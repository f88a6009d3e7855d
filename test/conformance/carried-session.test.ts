/** A session of the multiplexed lane that lives in a worker, seen from the main thread. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BridgeError } from '../../shared/errors.ts';
import { Limit, limitCells } from '../../shared/limit.ts';
import type { CarriedSession } from '../../shared/link/session-settings.ts';
import { silentLogger } from '../../shared/logger.ts';
import { MuxDriver } from '../../shared/mux/driver.ts';
import { MuxSession } from '../../shared/mux/session.ts';
import { WINDOW_SIZES } from '../../shared/mux/window.ts';
import { loadLibc } from '../../shared/platform/linux/libc.ts';
import { ShimEngine } from '../../vm-shim/data/linux/shim-engine.ts';
import { engines } from '../helpers/engines.ts';
import { ALL_EXTENSIONS } from '../helpers/mux-pair.ts';
import { until } from '../helpers/processes.ts';

describe.skipIf(!engines.includes('linux'))('a session that a worker carries', () => {
  let engine: ShimEngine;

  beforeAll(async () => {
    const log = silentLogger();
    const limit = new Limit('connections', 100, log, limitCells());
    engine = new ShimEngine({
      libc: await loadLibc(),
      workers: 1,
      limit,
      allowed: undefined,
      onStream: () => {},
      log,
    });
  });
  afterAll(() => engine.close());

  /** @param dealing whether what is heard is dealt with at once */
  async function carried(dealing = true) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const far = connect((server.address() as { port: number }).port, '127.0.0.1');
    const [near] = (await once(server, 'connection')) as [Socket];
    server.close();
    const heard = {
      here: [] as string[],
      there: [] as string[],
      resets: [] as number[],
      over: [] as string[],
      rtts: [] as number[],
      undealt: [] as Array<() => void>,
    };
    const driver: MuxDriver = new MuxDriver(far, () => {});
    const peer: MuxSession = new MuxSession(
      { ids: 'down', extensions: ALL_EXTENSIONS, windows: WINDOW_SIZES, maxChannels: 10 },
      {
        open() {},
        control: (payload) => heard.there.push(payload.toString()),
        streamReset: (streamId) => heard.resets.push(streamId),
        writable: () => driver.schedule(),
      },
    );
    driver.start(peer);
    peer.sendControl(Buffer.from('before')); // may be read by Node, or by the worker
    near.pause();
    const session: CarriedSession = await engine.links.carry(
      near,
      { dialled: false, legacy: false, extensions: ALL_EXTENSIONS },
      {
        control: (payload, dealt) => {
          heard.here.push(payload.toString());
          if (dealing) dealt();
          else heard.undealt.push(dealt);
        },
        streamReset: (streamId) => heard.resets.push(-streamId),
        rtt: (ms) => heard.rtts.push(ms),
        opened() {},
        over: (reason) => heard.over.push(reason.code),
      },
    );
    return { session, peer, far, heard };
  }

  it('takes and gives control messages and stream resets at any time, in order', async () => {
    const { session, peer, heard } = await carried();
    for (let i = 0; i < 20; i++) {
      session.sendControl(Buffer.from(`down ${i}`));
      peer.sendControl(Buffer.from(`up ${i}`));
    }
    session.sendControl(Buffer.alloc(256 * 1024, 'x'));
    session.sendStreamReset(5, 104);
    peer.sendStreamReset(6, 104);
    await until('all to have come', () => heard.resets.length === 2);
    await until('the large one to have come', () => heard.there.length === 21);
    expect(heard.here).toEqual(['before', ...Array.from({ length: 20 }, (_, i) => `up ${i}`)]);
    expect(heard.there.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => `down ${i}`));
    expect(heard.there[20]).toHaveLength(256 * 1024);
    expect(heard.resets.sort()).toEqual([-6, 5]);
    session.close(new BridgeError('CANCELLED', 'test'));
  });

  it('is read no further while the main thread has much to deal with', async () => {
    const { session, peer, heard } = await carried(false);
    const messages = 3_000;
    for (let i = 0; i < messages; i++) peer.sendControl(Buffer.alloc(2_000, 'x'));
    await until('some to have come', () => heard.here.length > 400);
    // As many as the limit (1 MiB), one read and what stands above it may be there, of 6 MB; another thread sends them.
    session.sendStreamReset(5, 104);
    await until('an answer behind them', () => heard.resets.length === 1);
    await delay(100);
    expect(heard.here.length).toBeLessThan(1_000);
    await until('the others', () => {
      for (const dealt of heard.undealt.splice(0)) dealt();
      return heard.here.length === messages + 1;
    });
    session.close(new BridgeError('CANCELLED', 'test'));
  });

  it('is over when its peer goes, or breaks the protocol', async () => {
    const gone = await carried();
    gone.far.destroy();
    await until('its end', () => gone.heard.over.length === 1);
    expect(gone.heard.over).toEqual(['LINK_LOST']);
    const broken = await carried();
    broken.far.write(Buffer.from([0xff, 0xff, 9, 0, 0, 0, 0]));
    await until('its end', () => broken.heard.over.length === 1);
    expect(broken.heard.over).toEqual(['PROTOCOL']);
  });

  it('measures round trips, and ends when its peer is silent', async () => {
    const { session, far, heard } = await carried();
    session.startHeartbeat(200);
    await until('two answers', () => heard.rtts.length > 1);
    expect(heard.over).toEqual([]);
    far.pause();
    far.removeAllListeners('data');
    await until('its end', () => heard.over.length === 1);
    expect(heard.over).toEqual(['LINK_LOST']);
    far.destroy();
  });

  it('says so when it is closed here, and its peer sees the end', async () => {
    const { session, far, heard } = await carried();
    session.close(new BridgeError('CANCELLED', 'test'));
    expect(heard.over).toEqual(['CANCELLED']);
    await until('the end of the stream', () => far.destroyed);
  });
});
