/** Frames of the multiplexer that are wrong, too many or too large. */
import { setTimeout as delay } from 'node:timers/promises';
import { COMMAND } from '../../../shared/mux/frame.ts';
import { until } from '../../helpers/processes.ts';
import { connectTo } from '../../helpers/stream-client.ts';
import type { Attack } from '../attack.ts';
import { dataFrame, frame, type RawLink, u32, u64 } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

const MIB = 1024 * 1024;
const LOOPBACK_9 = Buffer.from([2, 1, 4, 0, 127, 0, 0, 1, 9, 0]);

/** Sends the same block until so many bytes are gone or the link has ended. */
async function pour(link: RawLink, block: Buffer, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes && !link.ended; sent += block.length) await link.flush(block);
}

async function endedBy(scene: Scene, what: (link: RawLink) => Promise<unknown> | unknown): Promise<string> {
  const link = await scene.link();
  await what(link);
  await link.isEnded();
  return 'the link was ended';
}

/** The link still carries a connection. */
async function stillServes(scene: Scene, link: RawLink): Promise<void> {
  link.seen.length = 0;
  const { id, client } = await scene.channel(link);
  link.send(Buffer.concat([frame(COMMAND.dialResult, id, u32(0)), dataFrame(id, Buffer.from('served'))]));
  const first = await new Promise<string>((resolve) =>
    client.once('data', (chunk) => resolve(String(chunk))),
  );
  client.destroy();
  if (first !== 'served') throw new Error(`a client was sent "${first}"`);
}

export const FRAME_ATTACKS: readonly Attack[] = [
  {
    name: 'a window is overrun',
    run: (scene) =>
      endedBy(scene, async (link) => {
        const { id, client } = await scene.channel(link);
        client.pause();
        link.send(frame(COMMAND.dialResult, id, u32(0)));
        await pour(link, dataFrame(id, Buffer.alloc(64 * 1024)), 64 * MIB);
        client.destroy();
      }),
  },
  {
    name: 'payload before the dial result',
    run: (scene) =>
      endedBy(scene, async (link) => {
        const { id, client } = await scene.channel(link);
        await pour(link, dataFrame(id, Buffer.alloc(64 * 1024)), 64 * MIB);
        client.destroy();
      }),
  },
  {
    name: '50,000 channels are opened and never closed',
    run: (scene) =>
      endedBy(scene, async (link) => {
        for (let id = 0; id < 50_000 && !link.ended; id += 500) {
          const opens = Array.from({ length: 500 }, (_, i) => frame(COMMAND.open, id + i, LOOPBACK_9));
          await link.flush(Buffer.concat(opens));
        }
      }),
  },
  {
    name: '200,000 frames of unknown channels, 64 MiB of payload among them',
    run: async (scene) => {
      const link = await scene.link();
      const kinds = [
        (id: number) => frame(COMMAND.close, id),
        (id: number) => frame(COMMAND.shutdown, id),
        (id: number) => frame(COMMAND.window, id, u64(1_000_000n)),
        (id: number) => frame(COMMAND.reset, id, u32(104)),
        (id: number) => frame(COMMAND.dialResult, id, u32(0)),
        (id: number) => frame(COMMAND.streamReset, id, u32(104)),
      ];
      for (let i = 0; i < 200_000 && !link.ended; i += 1_000)
        await link.flush(
          Buffer.concat(Array.from({ length: 1_000 }, (_, j) => kinds[j % 6]!(7_000_000 + i + j))),
        );
      await pour(link, dataFrame(9_000_000, Buffer.alloc(256 * 1024)), 64 * MIB);
      await stillServes(scene, link);
      link.close();
      return 'dropped, the link still serves';
    },
  },
  {
    name: 'a frame of 4 GiB for an unknown channel',
    run: async (scene) => {
      const link = await scene.link();
      link.send(frame(COMMAND.data, 77, u32(0xffff_ffff)));
      await pour(link, Buffer.alloc(1 * MIB), 96 * MIB);
      const ended = link.ended;
      link.close();
      return ended ? 'the link was ended' : '96 MiB of it were dropped';
    },
  },
  {
    name: 'a frame of 4 GiB for a channel',
    run: (scene) =>
      endedBy(scene, async (link) => {
        const { id, client } = await scene.channel(link);
        link.send(
          Buffer.concat([frame(COMMAND.dialResult, id, u32(0)), frame(COMMAND.data, id, u32(0xffff_ffff))]),
        );
        await pour(link, Buffer.alloc(1 * MIB), 96 * MIB);
        client.destroy();
      }),
  },
  {
    name: 'a control message of 4 GiB',
    run: (scene) => endedBy(scene, (link) => link.send(frame(COMMAND.control, 0, u32(0xffff_ffff)))),
  },
  {
    name: 'a header of 65,535 bytes',
    run: (scene) => endedBy(scene, (link) => link.send(Buffer.alloc(65_535, 0xff))),
  },
  { name: 'an unknown command', run: (scene) => endedBy(scene, (link) => link.send(frame(0x7f, 1))) },
  {
    name: 'a window of 2^64 - 1',
    run: (scene) =>
      endedBy(scene, async (link) => {
        const { id, client } = await scene.channel(link);
        link.send(frame(COMMAND.window, id, u64(0xffff_ffff_ffff_ffffn)));
        client.destroy();
      }),
  },
  {
    name: '64 clients upload, all windows are open, and nothing is read',
    run: async (scene) => {
      const link = await scene.link();
      const clients = await Promise.all(Array.from({ length: 64 }, () => connectTo(scene.evilTcp)));
      const isOpen = ({ kind }: { kind: string }) => kind === 'open';
      const ids = await until('64 channels', () => {
        const opens = link.seen.filter(isOpen).map(({ bytes }) => bytes.readUInt32LE(3));
        return opens.length === 64 && opens;
      });
      link.socket.pause();
      for (const id of ids)
        link.send(
          Buffer.concat([frame(COMMAND.dialResult, id, u32(0)), frame(COMMAND.window, id, u64(2n ** 50n))]),
        );
      const block = Buffer.alloc(1 * MIB);
      for (const client of clients) {
        const more = () => {
          while (!client.destroyed && client.write(block));
        };
        client.on('drain', more);
        more();
      }
      await delay(2_000);
      for (const client of clients) client.destroy();
      link.close();
      return 'clients waited';
    },
  },
  {
    name: 'frames that want answers, which are never read',
    run: async (scene) => {
      const link = await scene.link();
      link.socket.pause();
      const flood = Buffer.concat(
        Array.from({ length: 500 }, (_, i) => [
          frame(COMMAND.open, i, LOOPBACK_9),
          frame(COMMAND.close, i),
        ]).flat(),
      );
      const end = Date.now() + 2_000;
      let sent = 0;
      while (Date.now() < end && !link.ended) {
        const taken = await Promise.race([
          link.flush(flood).then(() => true),
          delay(end - Date.now() + 10, false),
        ]);
        if (!taken) break;
        sent++;
      }
      link.close();
      return `the host agent stopped reading after ${sent} times 1,000 frames`;
    },
  },
];
