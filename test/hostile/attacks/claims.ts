/** Claims over the link: floods of them, port 0, numbers that are used twice. */
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { pack } from 'msgpackr';
import { until } from '../../helpers/processes.ts';
import type { Attack } from '../attack.ts';
import { controlFrame, type RawLink } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

const PORT_0 = 'tcp:127.0.0.1:0:tcp:127.0.0.1:9';

function claim(id: number, spec: string): Buffer {
  return controlFrame(pack({ type: 'claim', id, spec }));
}

/** Claims in turn, and counts the answers. */
async function flood(
  link: RawLink,
  count: number,
  spec: (id: number) => string,
): Promise<{ claimed: number; refused: number }> {
  let [claimed, refused] = [0, 0];
  link.onPiece = ({ kind }) => {
    if (kind === 'claimed') claimed++;
    if (kind === 'refused') refused++;
  };
  for (let id = 1; id <= count && !link.ended; id += 100)
    await link.flush(Buffer.concat(Array.from({ length: 100 }, (_, i) => claim(id + i, spec(id + i)))));
  await until('the answers', () => claimed + refused >= count || link.ended, 150_000);
  return { claimed, refused };
}

/** The link goes, and another instance comes, which wants nothing: whatever was claimed has to go. */
async function nothingLeft(scene: Scene, link: RawLink): Promise<void> {
  link.close();
  const next = await scene.link();
  await until('the claims to be gone', async () => (await scene.claimed('evil')) === 0);
  next.close();
}

export const CLAIM_ATTACKS: readonly Attack[] = [
  {
    name: '4,500 claims of port 0',
    run: async (scene) => {
      const link = await scene.link();
      const { claimed, refused } = await flood(link, 4_500, () => PORT_0);
      if (refused === 0) throw new Error(`all ${claimed} were granted`);
      await nothingLeft(scene, link);
      return `${claimed} granted, ${refused} refused, none left`;
    },
  },
  {
    name: '20,000 specs that are none',
    run: async (scene) => {
      const link = await scene.link();
      const odd = [
        '',
        'tcp:::::',
        '/',
        '..',
        '\u0000',
        'tcp:127.0.0.1:99999:tcp:127.0.0.1:1',
        'x'.repeat(500),
      ];
      const { claimed, refused } = await flood(link, 20_000, (id) => odd[id % odd.length]!);
      if (claimed > 0) throw new Error(`${claimed} were granted`);
      await nothingLeft(scene, link);
      return `${refused} refused`;
    },
  },
  {
    name: 'one number twice, a spec of 64 KiB, a set of 10,000',
    run: async (scene) => {
      const more = (claims: unknown[]) => controlFrame(pack({ type: 'claims', claims, more: true }));
      const part = Array.from({ length: 256 }, (_, id) => ({ id, spec: PORT_0 }));
      const wrongs: Buffer[] = [
        Buffer.concat([claim(1, PORT_0), claim(1, PORT_0)]),
        claim(1, 'x'.repeat(65_536)),
        Buffer.concat(Array.from({ length: 40 }, () => more(part))),
        more(Array.from({ length: 257 }, (_, id) => ({ id, spec: PORT_0 }))),
      ];
      for (const wrong of wrongs) {
        const link = await scene.link();
        link.send(wrong);
        await link.isEnded();
      }
      await nothingLeft(scene, await scene.link());
      return `${wrongs.length} links were ended`;
    },
  },
  {
    name: 'a set of 200 that is said again and again with others in it, and never read',
    run: async (scene) => {
      const link = await scene.link();
      link.socket.pause();
      const end = Date.now() + 3_000;
      let sets = 0;
      while (Date.now() < end && !link.ended) {
        const claims = Array.from({ length: 200 }, (_, i) => ({ id: sets * 200 + i, spec: PORT_0 }));
        link.send(controlFrame(pack({ type: 'claims', claims, more: false })));
        sets++;
        // The bystander lives in this process too.
        await turn();
        while (link.socket.writableNeedDrain && !link.ended && Date.now() < end) await delay(1);
      }
      await nothingLeft(scene, link);
      return `${sets} sets, none left`;
    },
  },
  {
    name: 'claims and unclaims in turn, 20,000 of them',
    run: async (scene) => {
      const link = await scene.link();
      let unclaimed = 0;
      link.onPiece = ({ kind }) => {
        if (kind === 'unclaimed') unclaimed++;
      };
      for (let id = 1; id <= 10_000 && !link.ended; id += 50) {
        const turns = Array.from({ length: 50 }, (_, i) => [
          claim(id + i, PORT_0),
          controlFrame(pack({ type: 'unclaim', id: id + i, now: true })),
        ]);
        await link.flush(Buffer.concat(turns.flat()));
      }
      await until('the answers', () => unclaimed === 10_000 || link.ended, 150_000);
      await nothingLeft(scene, link);
      return `${unclaimed} released`;
    },
  },
];
