/** Spare streams, which a shim opens where only the VM can dial: never asked for, of other links, trickling, dying. */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { descriptorKinds } from '../../helpers/bound-ports.ts';
import { until } from '../../helpers/processes.ts';
import { connectTo, fateOf, fateOfNew } from '../../helpers/stream-client.ts';
import type { Attack } from '../attack.ts';
import { dialUnix, FEATURES, GRANTED, type RawLink } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

const EARLY = Buffer.from('early');
const HEAD_BYTES = 22;
/** As docs/architecture.md has them: kept ready, and not yet known for what they are. */
const MOST_READY = 64;
const MOST_UNKNOWN = 512;

/** docs/protocol.md */
function spareHead(key: Buffer, length = HEAD_BYTES): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.set([0x53, 0xfe]);
  head.writeUInt16LE(length, 2);
  head[4] = 1;
  key.copy(head, 6);
  return head;
}

function spareLink(scene: Scene): Promise<RawLink> {
  return scene.link({ features: [...FEATURES, 'spare-streams'] });
}

async function dialSome(scene: Scene, count: number, bytes: (index: number) => Buffer): Promise<Socket[]> {
  const streams: Socket[] = [];
  for (let i = 0; i < count; i += 50) {
    const some = await Promise.all(
      Array.from({ length: 50 }, () => dialUnix(scene.evil).catch(() => undefined)),
    );
    for (const stream of some) {
      if (stream === undefined) continue;
      stream.on('end', () => stream.destroy());
      stream.resume().write(bytes(streams.push(stream)));
    }
  }
  return streams;
}

const openOf = (streams: readonly Socket[]): number => streams.filter((stream) => !stream.destroyed).length;

/** A client is carried by a spare stream that behaves. */
async function stillServes(scene: Scene, link: RawLink): Promise<void> {
  const opened: Socket[] = [];
  try {
    const client = await connectTo(scene.evilTcp);
    const got = new Promise<string>((resolve) => client.once('data', (bytes) => resolve(String(bytes))));
    await until('a client to be served', async () => {
      const stream = await dialUnix(scene.evil);
      opened.push(stream);
      stream.once('data', () => stream.write(Buffer.concat([GRANTED, Buffer.from('served')])));
      stream.write(spareHead(link.streamKey));
      return Promise.race([got, delay(50, undefined)]);
    });
    if ((await got) !== 'served') throw new Error(`a client was sent "${await got}"`);
    client.destroy();
  } finally {
    for (const stream of opened) stream.destroy();
  }
}

export const SPARE_ATTACKS: readonly Attack[] = [
  {
    name: '3,000 spare streams, of which none was asked for',
    run: async (scene) => {
      const link = await spareLink(scene);
      const streams = await dialSome(scene, 3_000, () => spareHead(link.streamKey));
      await until('most of them to be closed', () => openOf(streams) <= MOST_READY);
      const kept = openOf(streams);
      for (const stream of streams) stream.destroy();
      await stillServes(scene, link);
      link.close();
      return `${kept} were kept, and the forward still serves`;
    },
  },
  {
    name: 'spare streams with another key, that of a link that is over, and none',
    run: async (scene) => {
      const old = await spareLink(scene);
      old.close();
      const link = await spareLink(scene);
      const keys = [randomBytes(16), old.streamKey, Buffer.alloc(16), link.streamKey.subarray(0, 15)];
      const streams = await dialSome(scene, 600, (index) => spareHead(keys[index % keys.length]!));
      await until('all to be closed', () => openOf(streams) === 0);
      await stillServes(scene, link);
      link.close();
      return `${streams.length} were closed`;
    },
  },
  {
    name: 'heads of spare streams that trickle, that are too long, of another version',
    run: async (scene) => {
      const link = await spareLink(scene);
      const head = spareHead(link.streamKey);
      const other = Buffer.from(head);
      other[4] = 9;
      const wrong = [
        spareHead(link.streamKey, 65_535),
        spareHead(link.streamKey, 0),
        other,
        Buffer.from('GET /'),
      ];
      const refused = await dialSome(scene, 200, (index) => wrong[index % wrong.length]!);
      await until('the wrong ones to be closed', () => openOf(refused) === 0);
      const before = descriptorKinds(scene.host.pid).sockets;
      const slow = await dialSome(scene, 1_000, () => head.subarray(0, 1));
      for (let at = 1; at < HEAD_BYTES - 1; at++) {
        for (const stream of slow) if (!stream.destroyed) stream.write(head.subarray(at, at + 1));
        await delay(10);
      }
      const more = descriptorKinds(scene.host.pid).sockets - before;
      if (more > MOST_UNKNOWN + MOST_READY) throw new Error(`the host agent keeps ${more} of them`);
      await stillServes(scene, link);
      for (const stream of slow) stream.destroy();
      link.close();
      return `${more} of those that trickle were kept`;
    },
  },
  {
    name: 'spare streams that are closed at once, or speak before they are asked',
    run: async (scene) => {
      const link = await spareLink(scene);
      const dying = await dialSome(scene, 500, () => spareHead(link.streamKey));
      for (const stream of dying) stream.destroy();
      const speaking = await dialSome(scene, 500, () =>
        Buffer.concat([spareHead(link.streamKey), GRANTED, EARLY]),
      );
      const clients = Array.from({ length: 50 }, () => fateOfNew(scene.evilTcp));
      await delay(300);
      for (const stream of speaking) stream.destroy();
      await stillServes(scene, link);
      link.close();
      const fates = await Promise.all(clients);
      // Some are served by streams that behave ("served"), none by what was there before it was asked for ("early").
      const early = fates.filter(({ bytes }) => bytes === EARLY.length).length;
      if (early > 0)
        throw new Error(`${early} clients were sent what came before their stream was asked for`);
      const reset = fates.filter(({ bytes }) => bytes === 0).length;
      return `${reset} of ${fates.length} clients were reset, and the forward still serves`;
    },
  },
  {
    name: 'spare streams that take their clients and answer none, or garbage',
    run: async (scene) => {
      const link = await spareLink(scene);
      const streams = await dialSome(scene, 100, () => spareHead(link.streamKey));
      for (const [index, stream] of streams.entries())
        if (index % 2 === 0) stream.once('data', () => stream.write(Buffer.alloc(1_000, 0xaa)));
      // A reset may come so early that it is connecting that fails.
      const begun = Array.from({ length: 100 }, () => connectTo(scene.evilTcp).catch(() => undefined));
      const clients = (await Promise.all(begun)).filter((client) => client !== undefined);
      const fates = clients.map(fateOf);
      await delay(500);
      for (const client of clients) client.destroy();
      for (const stream of streams) stream.destroy();
      const clean = (await Promise.all(fates)).filter(({ how }) => how === 'end').length;
      await stillServes(scene, link);
      link.close();
      if (clean > 0) throw new Error(`${clean} clients saw a clean end`);
      return 'clients were reset, or could give up';
    },
  },
];
