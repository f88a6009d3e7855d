/** A shim that the host agent dials, so that its connections are dedicated streams, and that treats them badly. */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { COMMAND } from '../../../shared/mux/frame.ts';
import { until } from '../../helpers/processes.ts';
import { connectTo, fateOfNew } from '../../helpers/stream-client.ts';
import type { Attack } from '../attack.ts';
import { withShim } from '../evil-shim.ts';
import { frame, GRANTED, u32 } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

async function resets(scene: Scene, clients: number): Promise<string> {
  const fates = await Promise.all(Array.from({ length: clients }, () => fateOfNew(scene.dedicatedTcp)));
  const clean = fates.filter(({ how }) => how === 'end').length;
  if (clean > 0) throw new Error(`${clean} of ${clients} clients saw a clean end`);
  return `${clients} clients were reset`;
}

export const DEDICATED_ATTACKS: readonly Attack[] = [
  {
    name: 'dedicated streams are answered with garbage',
    run: (scene) =>
      withShim(
        scene,
        (stream) => stream.write(Buffer.alloc(1_000, 0xaa)),
        () => resets(scene, 200),
      ),
  },
  {
    name: 'dedicated streams are closed at once',
    run: (scene) =>
      withShim(
        scene,
        (stream) => stream.destroy(),
        () => resets(scene, 200),
      ),
  },
  {
    name: 'dedicated streams are never answered, by 300 clients',
    run: (scene) =>
      withShim(
        scene,
        () => {},
        async () => {
          const clients = await Promise.all(Array.from({ length: 300 }, () => connectTo(scene.dedicatedTcp)));
          await delay(500);
          for (const client of clients) client.destroy();
          return 'clients could give up';
        },
      ),
  },
  {
    name: 'dedicated streams pour at 32 clients that do not read',
    run: (scene) =>
      withShim(
        scene,
        (stream) => {
          stream.write(GRANTED);
          const block = Buffer.alloc(1024 * 1024);
          const more = () => {
            while (!stream.destroyed && stream.write(block));
          };
          stream.on('drain', more);
          more();
        },
        async () => {
          const clients = await Promise.all(Array.from({ length: 32 }, () => connectTo(scene.dedicatedTcp)));
          for (const client of clients) client.pause();
          await delay(2_000);
          for (const client of clients) client.destroy();
          return 'held by the kernel';
        },
      ),
  },
  {
    name: '100,000 resets of streams that there never were',
    run: (scene) => {
      let at: Socket | undefined;
      return withShim(
        scene,
        (stream, _preface, link) => {
          at = link;
          stream.write(GRANTED);
        },
        async () => {
          const client = await connectTo(scene.dedicatedTcp);
          const link = await until('a stream', () => at);
          for (let i = 0; i < 100; i++) {
            const some = Array.from({ length: 1_000 }, (_, j) =>
              frame(COMMAND.streamReset, 1_000_000 + i * 1_000 + j, u32(104)),
            );
            if (!link.write(Buffer.concat(some))) await new Promise((resolve) => link.once('drain', resolve));
          }
          await delay(300);
          client.destroy();
          return 'forgotten';
        },
      );
    },
  },
];
