/** Datagrams of a VM: frames of flows that there never were, of wrong lengths, cut short, too many; and none read. */
import { setTimeout as delay } from 'node:timers/promises';
import { COMMAND } from '../../../shared/mux/frame.ts';
import { until } from '../../helpers/processes.ts';
import { type UdpPeer, udpPeer } from '../../helpers/udp-peer.ts';
import type { Attack } from '../attack.ts';
import { withShim } from '../evil-shim.ts';
import { dataFrame, frame, GRANTED, u32, u64 } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

const MIB = 1024 * 1024;
const FLAG_ENDED = 2;
/** As docs/architecture.md has it. */
const MOST_FLOWS = 1_024;
/** The host agent's first window is smaller. */
const CHUNK = 16 * 1024;

/** A u32 frame (docs/protocol.md). */
function flowFrame(flow: number, payload: Buffer, flags = 0): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt32LE(10 + payload.length, 0);
  head.writeUInt32LE(flow, 4);
  head[8] = flags;
  head[9] = 10;
  return Buffer.concat([head, payload]);
}

/** What carries the datagrams of a forward, as its shim sees it. */
interface Carrier {
  /** Bytes that have come. */
  readonly received: () => number;
  readonly ended: () => boolean;
  /** Sends and waits until it was taken, or the carrier is gone. */
  send(bytes: Buffer): Promise<void>;
}

/** The two ways to carry them: a channel of a link, and a dedicated stream. */
const WAYS: ReadonlyArray<{
  readonly name: string;
  readonly port: (scene: Scene) => number;
  /** @param accept whether what is opened is granted and read */
  readonly run: <T>(
    scene: Scene,
    attack: (newest: () => Carrier | undefined) => Promise<T>,
    reading?: boolean,
  ) => Promise<T>;
}> = [
  {
    name: 'a channel',
    port: (scene) => scene.evilUdp,
    run: async (scene, attack, reading = true) => {
      const link = await scene.link();
      let newest: Carrier | undefined;
      const of = new Map<number, { got: number; sent: number; window: number; over: boolean }>();
      link.onPiece = ({ kind, bytes }) => {
        if (bytes.length < 7) return;
        const id = bytes.readUInt32LE(3);
        const state = of.get(id);
        if (kind === 'open') {
          const made = { got: 0, sent: 0, window: 0, over: false };
          of.set(id, made);
          const granted = frame(COMMAND.dialResult, id, u32(0));
          link.send(Buffer.concat([granted, frame(COMMAND.window, id, u64(reading ? 2n ** 40n : 4096n))]));
          newest = {
            received: () => made.got,
            ended: () => made.over || link.ended,
            send: async (payload) => {
              for (let at = 0; at < payload.length && !made.over && !link.ended; ) {
                const room = Math.min(CHUNK, payload.length - at, made.window - made.sent);
                if (room <= 0) {
                  await delay(1);
                  continue;
                }
                made.sent += room;
                await link.flush(dataFrame(id, payload.subarray(at, at + room)));
                at += room;
              }
            },
          };
        } else if (state === undefined) return;
        else if (kind === 'data') state.got += bytes.length - 11;
        else if (kind === 'window') state.window = Number(bytes.readBigUInt64LE(7));
        else if (kind === 'reset' || kind === 'close') {
          state.over = true;
          link.send(frame(COMMAND.close, id));
        }
      };
      if (!reading) link.socket.on('data', () => newest !== undefined && link.socket.pause());
      try {
        return await attack(() => newest);
      } finally {
        link.close();
      }
    },
  },
  {
    name: 'a stream',
    port: (scene) => scene.dedicatedUdp,
    run: async (scene, attack, reading = true) => {
      let newest: Carrier | undefined;
      const aborted = new Set<number>();
      return withShim(
        scene,
        (stream, preface) => {
          let got = 0;
          const id = preface.readUInt32LE(6);
          stream.write(GRANTED);
          if (reading) stream.on('data', (bytes: Buffer) => (got += bytes.length));
          else stream.pause();
          newest = {
            received: () => got,
            ended: () => stream.destroyed || aborted.has(id),
            send: async (bytes) => {
              if (!stream.destroyed) stream.write(bytes);
              while (!stream.destroyed && stream.writableNeedDrain) await delay(1);
            },
          };
        },
        () => attack(() => newest),
        ({ kind, bytes }) => kind === 'stream-reset' && aborted.add(bytes.readUInt32LE(3)),
      );
    },
  },
];

/** Sends datagrams until the host agent has opened what carries them and something has come. */
async function carrierOf(client: UdpPeer, port: number, newest: () => Carrier | undefined): Promise<Carrier> {
  return until('what carries the datagrams', async () => {
    client.send(Buffer.from('datagram'), port);
    await delay(20);
    const carrier = newest();
    return carrier !== undefined && !carrier.ended() && carrier.received() > 0 && carrier;
  });
}

/** The forward still carries: what is said on a flow that there is comes to its client. */
async function stillServes(port: number, newest: () => Carrier | undefined): Promise<void> {
  const client = await udpPeer();
  try {
    const carrier = await carrierOf(client, port, newest);
    // Flows are counted up; ours is among the newest of at most some thousands.
    await until('an answer', async () => {
      client.send(Buffer.from('question'), port);
      const answers = Array.from({ length: 4_000 }, (_, flow) => flowFrame(flow, Buffer.from('answer')));
      await carrier.send(Buffer.concat(answers));
      await delay(20);
      return client.received.length > 0;
    });
  } finally {
    await client.close();
  }
}

const WRONG: ReadonlyArray<readonly [name: string, bytes: Buffer]> = [
  ['a length of 0', Buffer.alloc(10)],
  ['a length of 9', Buffer.concat([u32(9), Buffer.alloc(6)])],
  ['a length of 4 GiB', Buffer.concat([u32(0xffff_ffff), Buffer.alloc(6, 10)])],
  ['a length of 66,049', Buffer.concat([u32(66_049), Buffer.alloc(5), Buffer.from([10])])],
  ['a header of 0', Buffer.concat([u32(20), Buffer.alloc(16)])],
  [
    'a header longer than its frame',
    Buffer.concat([u32(20), Buffer.alloc(5), Buffer.from([255]), Buffer.alloc(10)]),
  ],
  ['payload behind the end of a flow', flowFrame(0, Buffer.from('more'), FLAG_ENDED)],
];

export const DATAGRAM_ATTACKS: readonly Attack[] = WAYS.flatMap(({ name: way, port, run }): Attack[] => [
  {
    name: `datagrams on ${way}: 200,000 of flows that there never were, and their ends`,
    run: (scene) =>
      run(scene, async (newest) => {
        const client = await udpPeer();
        const carrier = await carrierOf(client, port(scene), newest);
        for (let i = 0; i < 200_000; i += 1_000) {
          const some = Array.from({ length: 1_000 }, (_, j) =>
            flowFrame(0x8000_0000 + i + j, Buffer.alloc(j % 7), j % 7 === 0 ? FLAG_ENDED : 0),
          );
          await carrier.send(Buffer.concat(some));
        }
        await client.close();
        if (carrier.ended()) throw new Error('what carried them was ended');
        await stillServes(port(scene), newest);
        return 'dropped, and the forward still serves';
      }),
  },
  {
    name: `datagrams on ${way}: lengths of 0 and of 4 GiB, headers cut short`,
    run: (scene) =>
      run(scene, async (newest) => {
        for (const [name, bytes] of WRONG) {
          const client = await udpPeer();
          const carrier = await carrierOf(client, port(scene), newest);
          await carrier.send(bytes);
          await until(`the end after ${name}`, () => carrier.ended());
          await client.close();
        }
        await stillServes(port(scene), newest);
        return `ended after each of ${WRONG.length}, opened again, and serves`;
      }),
  },
  {
    name: `datagrams on ${way}: a byte at a time, and one that never ends`,
    run: (scene) =>
      run(scene, async (newest) => {
        const client = await udpPeer();
        const carrier = await carrierOf(client, port(scene), newest);
        const whole = flowFrame(0x8000_0000, Buffer.alloc(3_000, 1));
        for (let at = 0; at < whole.length; at++) await carrier.send(whole.subarray(at, at + 1));
        await carrier.send(Buffer.concat([u32(66_048), Buffer.alloc(5), Buffer.from([10])]));
        await delay(300);
        await client.close();
        if (carrier.ended()) throw new Error('what carried them was ended');
        return 'waited for';
      }),
  },
  {
    name: `datagrams on ${way}: a flood at clients, of 64 MiB in datagrams of 60,000 bytes`,
    run: (scene) =>
      run(scene, async (newest) => {
        const client = await udpPeer();
        const carrier = await carrierOf(client, port(scene), newest);
        const large = Buffer.concat(
          Array.from({ length: 8 }, (_, flow) => flowFrame(flow, Buffer.alloc(60_000))),
        );
        for (let sent = 0; sent < 64 * MIB && !carrier.ended(); sent += large.length)
          await carrier.send(large);
        await client.close();
        await stillServes(port(scene), newest);
        return 'sent or dropped, and the forward still serves';
      }),
  },
  {
    name: `datagrams on ${way}: 1,200 clients, of which none is ever read`,
    run: (scene) =>
      run(
        scene,
        async () => {
          const clients: UdpPeer[] = [];
          for (let i = 0; i < 1_200; i++) clients.push(await udpPeer());
          const payload = Buffer.alloc(1_200, 7);
          for (let round = 0; round < 20; round++) {
            for (const client of clients) client.send(payload, port(scene));
            await delay(50);
          }
          const { flows } = await scene.stats(port(scene));
          await Promise.all(clients.map((client) => client.close()));
          if (flows! === 0 || flows! > MOST_FLOWS) throw new Error(`${flows} flows are there`);
          return `${flows} flows at once`;
        },
        false,
      ),
  },
]);
