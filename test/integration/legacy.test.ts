import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callApi, listForwards } from '../helpers/api.ts';
import { halfCloseEcho } from '../helpers/half-close-echo.ts';
import {
  hostPort,
  logLines,
  loopback,
  ONE_WORKER,
  ProcessGroup,
  type Running,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import { connectTo, fateOf, fateOfNew, readAll, roundTrip } from '../helpers/stream-client.ts';
import { serveStreams } from '../helpers/stream-server.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';
import { udpEcho, udpPeer } from '../helpers/udp-peer.ts';
import {
  CLOSE,
  DATA,
  datagram,
  OPEN,
  SHUTDOWN,
  tcpDestination,
  udpDestination,
  unixDestination,
  VpnkitPeer,
  WINDOW,
  WINDOW_BYTES,
} from '../helpers/vpnkit-peer.ts';

const KNOWN = [OPEN, CLOSE, SHUTDOWN, DATA, WINDOW];

let group: ProcessGroup;
let open: Array<{ close(): Promise<void> }>;

beforeEach(() => {
  group = new ProcessGroup();
  open = [];
});

afterEach(async () => {
  await group.close();
  await Promise.all(open.map((each) => each.close()));
});

async function track<T extends { close(): Promise<void> }>(each: Promise<T>): Promise<T> {
  open.push(await each);
  return each;
}

/** Every frame that came is one of vpnkit's own. */
function expectOnlyKnown(peer: VpnkitPeer): void {
  expect(peer.frames.map(({ command }) => command).filter((command) => !KNOWN.includes(command))).toEqual([]);
}

describe('a vpnkit in the VM', () => {
  let api: string;
  let peers: VpnkitPeer[];
  let host: Running;
  /** What the peer does with a frame. */
  let serve: (peer: VpnkitPeer, frame: Parameters<VpnkitPeer['onFrame']>[0]) => void;

  const start = async (...args: string[]): Promise<void> => {
    api = join(group.dir, 'api.sock');
    peers = [];
    serve = () => {};
    await track(
      serveStreams(
        (socket) => {
          const peer = new VpnkitPeer(socket);
          peer.onFrame = (frame) => serve(peer, frame);
          peers.push(peer);
        },
        join(group.dir, 'vm.sock'),
      ),
    );
    const common = ['--connect', group.unixUrl('vm.sock'), '--log-level', 'debug', ...ONE_WORKER];
    host = group.start('host-agent', ...common, '--api', api, ...args);
  };

  const expose = async (spec: string): Promise<{ spec: string; port: number }> => {
    const { status, body } = await callApi(api, 'POST', { spec });
    expect(status).toBe(201);
    const resolved = (body as { spec: string }).spec;
    return { spec: resolved, port: hostPort(resolved) };
  };

  /** Accepts and echoes within the host's window; ends when the host has ended, and closes. */
  const echoChannels = (): void => {
    const held = new Map<number, { waiting: Buffer; sent: number; got: number; ended: boolean }>();
    serve = (peer, { command, id, payload }) => {
      if (command === OPEN) {
        held.set(id, { waiting: Buffer.alloc(0), sent: 0, got: 0, ended: false });
        return peer.window(id, WINDOW_BYTES);
      }
      const channel = held.get(id);
      if (channel === undefined) return;
      if (command === DATA) {
        channel.waiting = Buffer.concat([channel.waiting, payload]);
        channel.got += payload.length;
      }
      if (command === SHUTDOWN) channel.ended = true;
      const room = Math.min(peer.allowed(id) - channel.sent, channel.waiting.length);
      if (room > 0) {
        peer.data(id, channel.waiting.subarray(0, room));
        channel.waiting = channel.waiting.subarray(room);
        channel.sent += room;
        peer.window(id, channel.got - channel.waiting.length + WINDOW_BYTES);
      }
      if (!channel.ended || channel.waiting.length > 0) return;
      held.delete(id);
      peer.shutdown(id);
      peer.close(id);
    };
  };

  it('carries TCP with half-close, within 65,536 bytes of window', async () => {
    await start('--legacy-peer');
    echoChannels();
    const { vms } = await untilLinked(host, api);
    expect(vms[0]!.lane).toBe('multiplexed');
    const { spec, port } = await expose(loopback('tcp', 4_711));
    const message = randomBytes(1_000_003);
    const client = await connectTo(port);
    client.end(message);
    expect((await readAll(client)).equals(message)).toBe(true);

    const [peer] = peers as [VpnkitPeer];
    const id = 0xffff_ffff; // who dials the transport counts down
    expect((await peer.wait(id, OPEN)).body).toEqual(
      Buffer.concat([Buffer.from([2]), tcpDestination(4_711)]),
    );
    expect(Number(peer.of(id, WINDOW)[0]!.body.readBigUInt64LE())).toBe(WINDOW_BYTES);
    await peer.wait(id, CLOSE);
    expect(peer.of(id, SHUTDOWN).length).toBe(1);
    expect(peer.of(id, CLOSE).length).toBe(1);
    expectOnlyKnown(peer);
    await until('nothing to be active', async () => {
      const { forwards } = await listForwards(api);
      return forwards.find((each) => each.spec === spec)!.stats.active === 0;
    });
    // Another connection has the next id below; an id is not used twice at once.
    expect(await roundTrip(port, 'again')).toBe('again');
    expect(peer.of(id - 1, OPEN).length).toBe(1);
    expect(peers.length).toBe(1);
  });

  it('ends of the VM side come as ends, while the client goes on', async () => {
    await start('--legacy-peer');
    serve = (peer, { command, id }) => {
      if (command !== OPEN) return;
      peer.window(id, WINDOW_BYTES);
      peer.data(id, Buffer.from('greeting'));
      peer.shutdown(id);
    };
    await untilLinked(host, api);
    const { port } = await expose(loopback('tcp', 4_711));
    const client = await connectTo(port);
    expect((await readAll(client)).toString()).toBe('greeting');
    client.end('goodbye');
    const [peer] = peers as [VpnkitPeer];
    await peer.wait(0xffff_ffff, SHUTDOWN);
    expect(peer.received(0xffff_ffff).toString()).toBe('goodbye');
    peer.close(0xffff_ffff);
    await peer.wait(0xffff_ffff, CLOSE);
  });

  it('carries UDP with a channel for each flow and u16 frames without an address', async () => {
    await start('--legacy-peer');
    serve = (peer, { command, id, payload }) => {
      if (command === OPEN) peer.window(id, WINDOW_BYTES);
      if (command === DATA) {
        peer.data(id, payload);
        peer.window(id, peer.received(id).length + WINDOW_BYTES);
      }
    };
    await untilLinked(host, api);
    const { port } = await expose(loopback('udp', 5_353));
    const clients = [await track(udpPeer()), await track(udpPeer())];
    for (const [i, client] of clients.entries()) {
      const sent = [0, 1, 1_472, 9_000].map((size) => Buffer.alloc(size, 0x40 + i));
      for (const payload of sent) {
        client.send(payload, port);
        const answer = await until('an answer', () => client.received.shift());
        expect(answer).toEqual(payload);
      }
      const [peer] = peers as [VpnkitPeer];
      const id = 0xffff_ffff - i;
      expect(peer.of(id, OPEN)[0]!.body).toEqual(Buffer.concat([Buffer.from([2]), udpDestination(5_353)]));
      expect(peer.received(id)).toEqual(Buffer.concat(sent.map(datagram)));
    }
    expectOnlyKnown(peers[0]!);
  });

  it('a Close right behind the accept is a failed dial: the client is reset', async () => {
    await start('--legacy-peer');
    serve = (peer, { command, id }) => {
      if (command !== OPEN) return;
      peer.window(id, WINDOW_BYTES);
      peer.close(id);
    };
    await untilLinked(host, api);
    const { port } = await expose(loopback('tcp', 4_711));
    for (let i = 0; i < 5; i++) {
      expect(await fateOfNew(port)).toEqual({ how: 'ECONNRESET', bytes: 0 });
      await peers[0]!.wait(0xffff_ffff - i, CLOSE);
    }
    expectOnlyKnown(peers[0]!);
    expect(peers.length).toBe(1);
  });

  it('an overrun of the window loses the link with its last events in the log, and the agent lives', async () => {
    await start('--legacy-peer');
    serve = (peer, { command, id }) => {
      if (command !== OPEN) return;
      peer.window(id, WINDOW_BYTES);
      peer.data(id, Buffer.alloc(WINDOW_BYTES + 1));
    };
    await untilLinked(host, api);
    const { port } = await expose(loopback('tcp', 4_711));
    const client = await connectTo(port);
    expect((await fateOf(client)).how).toBe('ECONNRESET');
    const line = await until('the log line', () =>
      logLines(host.stderr()).find(({ lately }) => lately !== undefined),
    );
    expect(line.msg).toContain('window overrun');
    expect(line.level).toBe(50);
    const lately = line.lately as string[];
    expect(lately.some((event) => /sent open 4294967295/.test(event))).toBe(true);
    expect(lately.some((event) => /recv data 4294967295 65537/.test(event))).toBe(true);

    echoChannels();
    await until('another link', () => peers.length > 1);
    await untilLinked(host, api);
    expect(host.child.exitCode).toBe(null);
    expect(await roundTrip(port, 'still alive')).toBe('still alive');
  });

  it('is refused without --legacy-peer, with the reason in the log', async () => {
    await start();
    const line = await until('the log line', () =>
      logLines(host.stderr()).find(({ msg }) => msg?.includes('--legacy-peer') === true),
    );
    expect(line).toMatchObject({ level: 40, code: 'PROTOCOL', msg: expect.stringContaining('no hello') });
    await until('the API', () => listForwards(api).catch(() => undefined));
    expect((await listForwards(api)).vms).toMatchObject([{ up: false }]);
    await until('the stream to be closed', () => peers[0]!.ended);
  });
});

describe('a vpnkit on the host', () => {
  const FIRST = 0xffff_ffff;
  let shim: Running;

  const start = async (...args: string[]): Promise<VpnkitPeer> => {
    const common = ['--listen', group.unixUrl('shim.sock'), '--log-level', 'debug', ...ONE_WORKER];
    shim = group.start('vm-shim', ...common, ...args);
    return dial();
  };

  const dial = async (): Promise<VpnkitPeer> => {
    const path = join(group.dir, 'shim.sock');
    const socket = await until('the shim', () => connectTo(path).catch(() => undefined));
    const peer = new VpnkitPeer(socket);
    open.push({ close: async () => peer.destroy() });
    return peer;
  };

  it('reaches TCP and unix containers, with half-close and within the windows of both sides', async () => {
    const container = await track(halfCloseEcho());
    const path = join(group.dir, 'container.sock');
    await track(halfCloseEcho(path));
    const peer = await start('--legacy-peer');
    const message = randomBytes(300_007);
    const destinations = [tcpDestination(container.port), unixDestination(path)];
    for (const [i, destination] of destinations.entries()) {
      const id = FIRST - i;
      peer.open(id, destination);
      expect(Number((await peer.wait(id, WINDOW)).body.readBigUInt64LE())).toBe(WINDOW_BYTES);
      await peer.stream(id, message);
      peer.shutdown(id);
      // The answer comes in windows that we give; not a byte more than was allowed.
      for (let allowed = 10_000; allowed < message.length + 100_000; allowed += 100_000) {
        peer.window(id, allowed);
        const expected = Math.min(allowed, message.length);
        await until('the window to be used', () => peer.received(id).length >= expected);
        expect(peer.received(id).length).toBe(expected);
      }
      await peer.wait(id, SHUTDOWN);
      expect(peer.received(id).equals(message)).toBe(true);
      peer.close(id);
      await peer.wait(id, CLOSE);
    }
    expectOnlyKnown(peer);
  });

  it('many channels at once each get their own answer', async () => {
    const container = await track(tcpEcho());
    const peer = await start('--legacy-peer');
    const ids = Array.from({ length: 100 }, (_, i) => FIRST - i);
    for (const id of ids) {
      peer.open(id, tcpDestination(container.port));
      peer.window(id, WINDOW_BYTES);
    }
    for (const id of ids) await peer.stream(id, Buffer.from(`channel ${id}`));
    for (const id of ids) await until('the answer', () => peer.received(id).toString() === `channel ${id}`);
    for (const id of ids) peer.shutdown(id);
    for (const id of ids) await peer.wait(id, SHUTDOWN);
    for (const id of ids) peer.close(id);
    await until('the container to be left alone', () => container.sockets.size === 0);
  });

  it('a container that is not there is a Close, and one that resets is one too', async () => {
    const gone = await tcpEcho();
    await gone.close();
    const rude = await track(
      serveStreams((socket) => {
        socket.once('data', () => socket.resetAndDestroy());
      }),
    );
    const peer = await start('--legacy-peer');
    peer.open(FIRST, tcpDestination(gone.port));
    await peer.wait(FIRST, CLOSE);
    expect(peer.of(FIRST, SHUTDOWN)).toEqual([]);
    peer.close(FIRST);

    peer.open(FIRST - 1, tcpDestination(rude.port));
    peer.window(FIRST - 1, WINDOW_BYTES);
    await peer.stream(FIRST - 1, Buffer.from('anything'));
    await peer.wait(FIRST - 1, CLOSE);
    expect(peer.of(FIRST - 1, SHUTDOWN)).toEqual([]);
    peer.close(FIRST - 1);
    expectOnlyKnown(peer);
    expect(peer.ended).toBe(false);
  });

  it('a Close without an end resets the container', async () => {
    let fate: ReturnType<typeof fateOf> | undefined;
    const container = await track(
      serveStreams((socket) => {
        fate = fateOf(socket);
      }),
    );
    const peer = await start('--legacy-peer');
    peer.open(FIRST, tcpDestination(container.port));
    await peer.stream(FIRST, Buffer.from('and then'));
    await until('the container to have a client', () => container.accepted() === 1);
    peer.close(FIRST);
    expect((await fate!).how).toBe('ECONNRESET');
    await peer.wait(FIRST, CLOSE);
  });

  it('carries UDP with a channel for each flow', async () => {
    const container = await track(udpEcho());
    const peer = await start('--legacy-peer');
    for (let i = 0; i < 3; i++) {
      const id = FIRST - i;
      peer.open(id, udpDestination(container.port));
      peer.window(id, WINDOW_BYTES);
      let expected = Buffer.alloc(0);
      for (const size of [0, 1, 1_472, 9_000]) {
        const frame = datagram(Buffer.alloc(size, 0x40 + i));
        await peer.stream(id, frame);
        expected = Buffer.concat([expected, frame]);
        await until('the answer', () => peer.received(id).length >= expected.length);
        expect(peer.received(id)).toEqual(expected);
      }
    }
    expectOnlyKnown(peer);
  });

  it('an overrun of the window loses the link with its last events in the log, and the shim lives', async () => {
    const sink = await track(serveStreams((socket) => socket.pause()));
    const echo = await track(tcpEcho());
    const peer = await start('--legacy-peer');
    peer.open(FIRST, tcpDestination(sink.port));
    await peer.wait(FIRST, WINDOW);
    peer.data(FIRST, Buffer.alloc(WINDOW_BYTES + 1));
    await until('the link to be lost', () => peer.ended);
    const line = await until('the log line', () =>
      logLines(shim.stderr()).find(({ lately }) => lately !== undefined),
    );
    expect(line.msg).toContain('window overrun');
    await until('the container to be let go', () => sink.sockets.size === 0);

    const next = await dial();
    next.open(FIRST, tcpDestination(echo.port));
    next.window(FIRST, WINDOW_BYTES);
    await next.stream(FIRST, Buffer.from('still alive'));
    await until('the answer', () => next.received(FIRST).toString() === 'still alive');
  });

  it('is refused without --legacy-peer, with the reason in the log', async () => {
    const peer = await start();
    await until('the stream to be closed', () => peer.ended);
    const line = await until('the log line', () =>
      logLines(shim.stderr()).find(({ msg }) => msg?.includes('--legacy-peer') === true),
    );
    expect(line).toMatchObject({ level: 40, msg: expect.stringContaining('no hello') });
    expect(shim.child.exitCode).toBe(null);
  });
});
