/** Streams that say nothing, handshakes and hellos that are wrong or too many, and links that come and go. */
import { setTimeout as delay } from 'node:timers/promises';
import { pack } from 'msgpackr';
import { descriptorKinds } from '../../helpers/bound-ports.ts';
import { until } from '../../helpers/processes.ts';
import type { Attack } from '../attack.ts';
import { controlFrame, dialUnix, handshake, hello, RawLink } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

/** Msgpack that a decoder may stumble over: each is one value. */
export const GARBAGE: ReadonlyArray<readonly [name: string, bytes: Buffer]> = [
  ['nothing', Buffer.alloc(0)],
  ['the number 7', Buffer.from([7])],
  ['an array of 2^32 - 1', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
  ['a map of 2^32 - 1', Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff])],
  ['a string of 4 GiB', Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff])],
  ['bytes of 4 GiB', Buffer.from([0xc6, 0xff, 0xff, 0xff, 0xff])],
  ['4,000 arrays in one another', Buffer.alloc(4_000, 0x91)],
  ['4,000 maps in one another', Buffer.alloc(4_000, 0x81)],
  // msgpackr's records: fixext1 of type 0x72 defines one, a byte from 0x40 on uses it.
  [
    'a record definition',
    Buffer.from([
      0xd4, 0x72, 0x40, 0x91, 0xa4, 0x74, 0x79, 0x70, 0x65, 0xa7, 0x73, 0x74, 0x61, 0x72, 0x74, 0x65, 0x64,
    ]),
  ],
  ['a record that was not defined', Buffer.from([0x41])],
  // ext 0x74: a typed array, here of doubles over three bytes.
  ['a typed array', Buffer.from([0xc7, 0x04, 0x74, 0x09, 1, 2, 3])],
  ['a map with __proto__', pack(JSON.parse('{"__proto__": {"type": "started"}, "type": 1}') as object)],
  ['a map with other types', pack({ type: ['claims'], claims: {}, version: 'x', features: 5, more: 1 })],
  ['a date, a set and a map as keys', Buffer.from([0x81, 0xd6, 0xff, 0, 0, 0, 1, 0x81, 0x80, 0x80])],
];

export const HELLO_ATTACKS: readonly Attack[] = [
  {
    name: '3,000 streams that say nothing',
    run: async (scene) => {
      const before = descriptorKinds(scene.host.pid).sockets;
      const streams = await dialMany(scene, 3_000);
      await delay(500);
      const most = descriptorKinds(scene.host.pid).sockets - before;
      if (most > 1_000) throw new Error(`the host agent keeps ${most} of them open`);
      // The VM itself is let in all the same, at the latest when those that say nothing have had their time.
      const link = await until('a link beside them', () => scene.link().catch(() => undefined));
      link.close();
      for (const stream of streams) stream.destroy();
      return `${most} of them were kept`;
    },
  },
  {
    name: 'handshakes that stop half-way, a byte at a time',
    run: async (scene) => {
      const bytes = handshake(hello());
      const streams = await dialMany(scene, 100);
      for (let at = 0; at < bytes.length - 1; at += 8) {
        for (const stream of streams) stream.write(bytes.subarray(at, Math.min(at + 8, bytes.length - 1)));
        await delay(5);
      }
      for (const stream of streams) stream.destroy();
      return 'stood';
    },
  },
  {
    name: 'hellos of garbage and of 65,535 bytes',
    run: async (scene) => {
      const hellos = [...GARBAGE.slice(1).map(([, bytes]) => bytes), Buffer.alloc(65_535, 0x91)];
      for (const payload of hellos) {
        const stream = await dialUnix(scene.evil);
        stream.resume();
        stream.write(handshake(payload));
        await until('the host agent to close', () => stream.destroyed || stream.readableEnded);
        stream.destroy();
      }
      return `${hellos.length} were refused`;
    },
  },
  {
    name: 'control messages of garbage',
    run: async (scene) => {
      for (const [name, bytes] of GARBAGE) {
        const link = await scene.link();
        link.send(controlFrame(bytes));
        await link.isEnded().catch(() => {
          throw new Error(`the link stands after ${name}`);
        });
      }
      return `${GARBAGE.length} links were ended`;
    },
  },
  {
    name: '256 KiB of arrays in one another as a control message',
    run: async (scene) => {
      const link = await scene.link();
      link.send(controlFrame(Buffer.alloc(256 * 1024, 0x91)));
      await link.isEnded();
      return 'the link was ended';
    },
  },
  {
    name: '600 links, eight at a time, each of another instance',
    run: async (scene) => {
      let up = 0;
      const storm = async (): Promise<void> => {
        for (let i = 0; i < 75; i++) {
          const link = await RawLink.up(scene.evil).catch(() => undefined);
          if (link !== undefined) up++;
          link?.close();
        }
      };
      await Promise.all(Array.from({ length: 8 }, storm));
      const link = await scene.link();
      link.close();
      return `${up} were up for a moment`;
    },
  },
];

async function dialMany(scene: Scene, count: number): Promise<Awaited<ReturnType<typeof dialUnix>>[]> {
  const streams: Awaited<ReturnType<typeof dialUnix>>[] = [];
  for (let i = 0; i < count; i += 50) {
    const some = await Promise.all(
      Array.from({ length: 50 }, () => dialUnix(scene.evil).catch(() => undefined)),
    );
    for (const stream of some) if (stream !== undefined) streams.push(stream.resume());
  }
  return streams;
}
