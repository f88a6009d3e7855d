/** The control filesystem: fids, tags, names, sizes, connections. */
import { setTimeout as delay } from 'node:timers/promises';
import { listForwards } from '../../helpers/api.ts';
import { until } from '../../helpers/processes.ts';
import type { Attack } from '../attack.ts';
import { dialUnix } from '../raw-link.ts';
import { RawTree } from '../raw-tree.ts';
import type { Scene } from '../scene.ts';

/** What no entry may be called. */
const NAMES = [
  '..',
  '.',
  '',
  '/',
  'a/b',
  '../../etc',
  'a\u0000b',
  'n'.repeat(256),
  'n'.repeat(7_000),
  '/etc/passwd',
];
const DIRECTORY = 0x8000_01ed;

async function attached(scene: Scene): Promise<RawTree> {
  return RawTree.attach(scene.evilTree);
}

/** The tree of the VM serves a new connection, and it is empty. */
async function stillServes(scene: Scene): Promise<void> {
  const look = async () => {
    const tree = await attached(scene);
    const walked = await tree.ask('Twalk', { fid: 0, newfid: 1, names: ['README'] });
    tree.close();
    return walked?.type === 'Rwalk';
  };
  await until('the tree to serve', () => look().catch(() => false));
  const ofTree = async () =>
    (await listForwards(scene.api)).forwards.filter(({ owner }) => owner.startsWith('9p:evil'));
  await until('its claims to be gone', async () => (await ofTree()).length === 0);
}

/** Makes an entry, `e<i>`, that stays: its ctl is open. */
async function holdEntry(tree: RawTree, i: number): Promise<void> {
  const [dir, ctl] = [1_000 + 2 * i, 1_001 + 2 * i];
  await tree.ask('Twalk', { fid: 0, newfid: dir, names: [] });
  await tree.ask('Tcreate', { fid: dir, name: `e${i}`, perm: DIRECTORY, mode: 0, extension: '' });
  await tree.ask('Twalk', { fid: 0, newfid: ctl, names: [`e${i}`, 'ctl'] });
  const opened = await tree.ask('Topen', { fid: ctl, mode: 0 });
  if (opened?.type !== 'Ropen') throw new Error(`entry ${i} was not made`);
}

async function pathOf(tree: RawTree, name: string): Promise<bigint> {
  const walked = await tree.ask('Twalk', { fid: 0, newfid: 999, names: [name] });
  if (walked?.type !== 'Rwalk') throw new Error(`no ${name}`);
  return walked.qids[0]!.path;
}

export const TREE_ATTACKS: readonly Attack[] = [
  {
    name: '40,000 fids',
    run: async (scene) => {
      const tree = await attached(scene);
      for (let fid = 1; fid <= 40_000 && !tree.ended; fid += 100) {
        const walks = Array.from({ length: 100 }, (_, i) =>
          tree.bytes('Twalk', { fid: 0, newfid: fid + i, names: [] }, i),
        );
        const before = tree.replies;
        await tree.flush(Buffer.concat(walks), 10_000);
        await until('the answers', () => tree.replies >= before + 100 || tree.ended);
      }
      const last = await tree.ask('Twalk', { fid: 0, newfid: 50_000, names: [] });
      if (last?.type !== 'Rerror') throw new Error(`the last one was answered by ${last?.type}`);
      tree.close();
      await stillServes(scene);
      return `refused: ${last.ename}`;
    },
  },
  {
    name: '30,000 requests at once, whose answers are never read',
    run: async (scene) => {
      const tree = await attached(scene);
      tree.socket.pause();
      const stats = Buffer.concat(
        Array.from({ length: 1_000 }, (_, tag) => tree.bytes('Tstat', { fid: 0 }, tag)),
      );
      let sent = 0;
      while (sent < 30 && (await tree.flush(stats, 1_000))) sent++;
      tree.close();
      await stillServes(scene);
      return `the host agent stopped reading after ${sent},000`;
    },
  },
  {
    name: 'names with .., /, NUL, of 7,000 bytes',
    run: async (scene) => {
      const tree = await attached(scene);
      let fid = 100;
      for (const name of NAMES) {
        await tree.ask('Twalk', { fid: 0, newfid: ++fid, names: [] });
        const made = await tree.ask('Tcreate', { fid, name, perm: DIRECTORY, mode: 0, extension: '' });
        if (made?.type === 'Rcreate') throw new Error(`an entry "${name.slice(0, 20)}" was made`);
        if (tree.ended) throw new Error(`the name "${name.slice(0, 20)}" ended the connection`);
        const walked = await tree.ask('Twalk', { fid: 0, newfid: ++fid, names: [name] });
        // `..` of the root is the root (walk(5)); anything else is not there.
        if (walked?.type === 'Rwalk' && walked.qids.length === 1 && name !== '..')
          throw new Error(`"${name.slice(0, 20)}" could be walked to`);
      }
      const root = await tree.ask('Twalk', { fid: 0, newfid: 99, names: ['..', '..', 'README'] });
      if (root?.type !== 'Rwalk' || root.qids.length !== 3) throw new Error('.. leads out of the tree');
      tree.close();
      await stillServes(scene);
      return `${NAMES.length} names were refused`;
    },
  },
  {
    name: 'a name of 64 KiB, sizes of 0 and of 4 GiB',
    run: async (scene) => {
      const size = (value: number) => {
        const bytes = Buffer.alloc(7);
        bytes.writeUInt32LE(value);
        bytes[4] = 110;
        return bytes;
      };
      const large = Buffer.alloc(70_000);
      large.writeUInt32LE(large.length);
      large[4] = 114;
      large.writeUInt16LE(65_535, 11);
      for (const wrong of [size(0), size(6), size(0xffff_ffff), large]) {
        const tree = await attached(scene);
        tree.socket.write(wrong);
        await until('the connection to be ended', () => tree.ended);
      }
      await stillServes(scene);
      return 'the connections were ended';
    },
  },
  {
    name: '10,000 entries, each with a claim of port 0 that is left alone',
    run: async (scene) => {
      const tree = await attached(scene);
      let [made, refused, claimed] = [0, 0, 0];
      const spec = Buffer.from('tcp:127.0.0.1:0:tcp:127.0.0.1:9');
      const make = async (i: number): Promise<void> => {
        const [dir, ctl] = [1_000 + 2 * i, 1_001 + 2 * i];
        await tree.ask('Twalk', { fid: 0, newfid: dir, names: [] });
        const name = `e${i}`;
        const entry = await tree.ask('Tcreate', { fid: dir, name, perm: DIRECTORY, mode: 0, extension: '' });
        if (entry?.type !== 'Rcreate') {
          refused++;
          return;
        }
        made++;
        if (i >= 500) return;
        await tree.ask('Twalk', { fid: 0, newfid: ctl, names: [name, 'ctl'] });
        await tree.ask('Topen', { fid: ctl, mode: 2 });
        const written = await tree.ask('Twrite', { fid: ctl, offset: 0n, data: spec });
        if (written?.type === 'Rwrite') claimed++;
      };
      // Many at a time: those without a claim go away after a while.
      for (let i = 0; i < 10_000 && refused < 100 && !tree.ended; i += 100)
        await Promise.all(Array.from({ length: 100 }, (_, j) => make(i + j)));
      tree.close();
      await stillServes(scene);
      if (refused === 0) throw new Error(`all ${made} entries were made`);
      return `${made} made, ${claimed} of them with a claim, then refused; none left`;
    },
  },
  {
    name: '4,000 entries, listed by 200 fids and over and over by 100 connections',
    run: async (scene) => {
      const tree = await attached(scene);
      for (let first = 0; first < 4_000; first += 100)
        await Promise.all(Array.from({ length: 100 }, (_, i) => holdEntry(tree, first + i)));
      for (let fid = 1; fid <= 200; fid++) {
        await tree.ask('Twalk', { fid: 0, newfid: fid, names: [] });
        await tree.ask('Topen', { fid, mode: 0 });
        const page = await tree.ask('Tread', { fid, offset: 0n, count: 8_000 });
        if (page?.type !== 'Rread') throw new Error(`a listing was answered by ${page?.type}`);
      }
      // Nothing of the last entry fits, after a look at all the others.
      const path = await pathOf(tree, 'e3999');
      const readdir = { fid: 0, offset: path + 1n, count: 1 };
      const readers = await Promise.all(
        Array.from({ length: 100 }, async () => {
          const reader = await RawTree.attach(scene.evilTree, '9P2000.L');
          await reader.ask('Tlopen', { fid: 0, flags: 0 });
          return reader;
        }),
      );
      const before = readers.reduce((sum, { replies }) => sum + replies, 0);
      for (const reader of readers) {
        const reads = Array.from({ length: 2_800 }, (_, tag) => reader.bytes('Treaddir', readdir, tag));
        reader.socket.write(Buffer.concat(reads));
      }
      const begun = performance.now();
      let [answers, slowest] = [0, 0];
      while (performance.now() - begun < 3_000) {
        const asked = performance.now();
        await listForwards(scene.api);
        slowest = Math.max(slowest, performance.now() - asked);
        answers++;
      }
      const listed = readers.reduce((sum, { replies }) => sum + replies, 0) - before;
      for (const each of [...readers, tree]) each.close();
      await stillServes(scene);
      if (listed === 0) throw new Error('nothing was listed');
      return `${listed} answers; the API answered ${answers} times meanwhile, within ${slowest.toFixed(0)} ms`;
    },
  },
  {
    name: '1,000 connections to the tree that say nothing',
    run: async (scene) => {
      const streams: Awaited<ReturnType<typeof dialUnix>>[] = [];
      for (let i = 0; i < 20; i++) {
        const some = await Promise.all(
          Array.from({ length: 50 }, () => dialUnix(scene.evilTree).catch(() => undefined)),
        );
        for (const stream of some) if (stream !== undefined) streams.push(stream.resume());
      }
      await delay(300);
      const open = streams.filter((stream) => !stream.destroyed && !stream.readableEnded).length;
      for (const stream of streams) stream.destroy();
      if (open > 300) throw new Error(`the host agent keeps ${open} of them`);
      await stillServes(scene);
      return `${open} were kept`;
    },
  },
  {
    name: 'garbage of all kinds, 300 connections',
    run: async (scene) => {
      for (let i = 0; i < 300; i++) {
        const stream = await dialUnix(scene.evilTree);
        const bytes = Buffer.alloc(20 + i * 7, (i * 37) & 0xff);
        if (i % 2 === 0) bytes.writeUInt32LE(bytes.length);
        bytes[4] = 100 + (i % 28);
        stream.resume().end(bytes);
        await until('the end', () => stream.destroyed || stream.readableEnded, 15_000).catch(() =>
          stream.destroy(),
        );
      }
      await stillServes(scene);
      return 'stood';
    },
  },
];
