import { afterEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../../shared/logger.ts';
import { P9Client } from '../../../shared/p9/client.ts';
import { DirectoryCursor } from '../../../shared/p9/directory-cursor.ts';
import { decodeDirents } from '../../../shared/p9/dirent-codec.ts';
import type { Directory, File } from '../../../shared/p9/filesystem.ts';
import { decodeStats } from '../../../shared/p9/stat-codec.ts';
import { IO_HEADER_BYTES } from '../../../shared/p9/types.ts';
import { MIN_MSIZE } from '../../../shared/p9/version.ts';
import { PortTree, type PortTreeOptions } from '../../../shared/portfs/tree.ts';
import { FakeDoor } from './fake-door.ts';
import { servePorts } from './serving.ts';

const quiet = new AbortController().signal;
const RW = { read: true, write: true, truncate: false };

function growing(options: Partial<PortTreeOptions> = {}) {
  const door = new FakeDoor();
  const tree = new PortTree({ log: silentLogger(), ...options });
  return { door, tree, root: tree.filesystem(door).attach('', '/') };
}

const names = (directory: Directory) => [...directory.list(0n)].map((node) => node.attributes().name);
const ctlOf = (root: Directory, name: string) => (root.walk(name) as Directory).walk('ctl') as File;

afterEach(() => {
  vi.useRealTimers();
});

describe('names', () => {
  it.each(['', '.', '..', 'a/b', '/', 'a\0'])('%j is refused', (name) => {
    expect(() => growing().root.makeDirectory(name)).toThrow(expect.objectContaining({ errno: 22 }));
  });

  it('may have 255 bytes and no more', () => {
    const { root } = growing();
    root.makeDirectory('x'.repeat(255));
    root.makeDirectory('tcp:[::1]:8080:tcp:[fd00::2]:80');
    expect(() => root.makeDirectory('x'.repeat(256))).toThrow(expect.objectContaining({ errno: 36 }));
    expect(() => root.makeDirectory('é'.repeat(128))).toThrow(expect.objectContaining({ errno: 36 }));
    expect(names(root)).toHaveLength(3);
  });

  it.each(['9P2000', '9P2000.u', '9P2000.L'] as const)(
    'of 255 bytes are listed in messages of the least size of %s',
    (dialect) => {
      const { root } = growing();
      for (const letter of ['x', 'y', 'z']) root.makeDirectory(letter.repeat(255));
      const cursor = new DirectoryCursor(root);
      const read = (from: number, cookie: bigint) =>
        dialect === '9P2000.L'
          ? cursor.readEntries(cookie, MIN_MSIZE - IO_HEADER_BYTES)
          : cursor.readStats(from, MIN_MSIZE - IO_HEADER_BYTES, dialect);
      let [offset, cookie, listed] = [0, 0n, 0];
      for (let page = read(0, 0n); page.length > 0; page = read(offset, cookie)) {
        offset += page.length;
        if (dialect === '9P2000.L') {
          const dirents = decodeDirents(page);
          cookie = dirents.at(-1)!.cookie;
          listed += dirents.filter(({ name }) => !name.startsWith('.')).length;
        } else listed += decodeStats(page, dialect).length;
      }
      expect(listed).toBe(4);
    },
  );

  it('README is taken', () => {
    expect(() => growing().root.makeDirectory('README')).toThrow(
      expect.objectContaining({ code: 'ALREADY_EXISTS' }),
    );
  });
});

describe('adoption', () => {
  it('an entry neither open nor asked is handed to the next mkdir of its name, as it is', () => {
    const { root, tree } = growing();
    const first = root.makeDirectory('web');
    expect(root.makeDirectory('web').qid).toEqual(first.qid);
    expect(tree.entries.used).toBe(1);
  });

  it('one that is open or asked is not', async () => {
    const { root } = growing();
    root.makeDirectory('web');
    const ctl = ctlOf(root, 'web').open(RW);
    expect(() => root.makeDirectory('web')).toThrow(expect.objectContaining({ code: 'ALREADY_EXISTS' }));
    await ctl.write(0, Buffer.from('tcp:a'), quiet);
    expect(() => root.makeDirectory('web')).toThrow(expect.objectContaining({ code: 'ALREADY_EXISTS' }));
    await ctl.close();
    root.makeDirectory('web');
  });

  it('and after 10 s it is gone from the tree', async () => {
    vi.useFakeTimers();
    const { root, tree } = growing();
    root.makeDirectory('web');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(() => root.walk('web')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(names(root)).toEqual(['README']);
    expect(tree.entries.used).toBe(0);
  });
});

describe('the number of entries', () => {
  it('is limited; a place is free again when nothing of an entry is left', async () => {
    const { root, tree, door } = growing({ maxEntries: 1, answerMs: 5 });
    door.manual = true;
    root.makeDirectory('a');
    expect(() => root.makeDirectory('b')).toThrow(expect.objectContaining({ code: 'LIMIT_REACHED' }));
    const ctl = ctlOf(root, 'a').open(RW);
    await ctl.write(0, Buffer.from('tcp:a'), quiet);
    await ctl.close();
    expect(names(root)).toEqual(['README']);
    // The door has not answered yet: whoever lets it hang does not get more out of it.
    expect(() => root.makeDirectory('b')).toThrow(expect.objectContaining({ code: 'LIMIT_REACHED' }));
    expect(tree.entries.refused).toBe(2);
    door.asked[0]?.refuse('late');
    await new Promise(setImmediate);
    root.makeDirectory('b');
  });
});

it('qid paths are unique and never used again', async () => {
  const { root } = growing();
  const seen = new Set<bigint>();
  let count = 0;
  const collect = (directory: Directory) => {
    for (const node of [directory, ...[...directory.list(0n)].filter((one) => one.kind === 'file')]) {
      seen.add(node.qid.path);
      count++;
    }
  };
  collect(root);
  for (let turn = 0; turn < 50; turn++) {
    const entry = root.makeDirectory('web');
    collect(entry);
    await entry.remove(quiet);
  }
  expect(seen.size).toBe(count);
  expect(count).toBe(2 + 50 * 4);
});

it('the same node has the same qid on every connection', () => {
  const { root, tree } = growing();
  root.makeDirectory('web');
  const other = tree.filesystem(new FakeDoor()).attach('', '');
  expect(ctlOf(other, 'web').qid).toEqual(ctlOf(root, 'web').qid);
  expect(other.qid).toEqual(root.qid);
});

it('a request goes to the door of the connection that writes it', async () => {
  const { root, tree, door } = growing();
  const otherDoor = new FakeDoor();
  root.makeDirectory('web');
  const other = tree.filesystem(otherDoor).attach('', '');
  await ctlOf(other, 'web').open(RW).write(0, Buffer.from('tcp:a'), quiet);
  expect([[...door.bound], [...otherDoor.bound]]).toEqual([[], ['tcp:a']]);
});

describe('what cannot be done', () => {
  it('making anything but entries, removing files or the root, changing what is fixed', async () => {
    const { root } = growing();
    const entry = root.makeDirectory('web');
    const denied = expect.objectContaining({ code: 'PERMISSION_DENIED' });
    expect(() => entry.makeDirectory('sub')).toThrow(denied);
    await expect(root.remove(quiet)).rejects.toEqual(denied);
    for (const node of [root.walk('README'), ...entry.list(0n)]) {
      await expect(node.remove(quiet)).rejects.toEqual(denied);
      expect(() => node.change({ permissions: 0o777 })).toThrow(denied);
      expect(() => node.change({ owner: true })).toThrow(denied);
      expect(() => node.change({ name: 'new' })).toThrow(denied);
      expect(() => node.change({})).not.toThrow();
    }
    expect(() => entry.walk('status').change({ size: 0 })).toThrow(denied);
    expect(() => entry.walk('ctl').change({ size: 0 })).not.toThrow();
    expect(() => entry.change({ name: 'new' })).toThrow(denied);
  });

  it('using what is left of an entry that is gone', async () => {
    const { root, door } = growing();
    const entry = root.makeDirectory('web');
    const ctl = entry.walk('ctl') as File;
    const open = ctl.open(RW);
    await entry.remove(quiet);
    const missing = expect.objectContaining({ code: 'NOT_FOUND' });
    expect(() => entry.walk('ctl')).toThrow(missing);
    expect(() => ctl.open(RW)).toThrow(missing);
    expect([...entry.list(0n)]).toEqual([]);
    await expect(open.write(0, Buffer.from('tcp:a'), quiet)).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    await open.close();
    expect(door.asked).toEqual([]);
  });

  it('attaching to another tree', () => {
    const { tree, door } = growing();
    expect(() => tree.filesystem(door).attach('', 'other')).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' }),
    );
  });
});

it('a removal that is flushed succeeds at once, and what was claimed is released all the same', async () => {
  const { door, dial, server } = servePorts({ answerMs: 3_600_000 });
  const client = await P9Client.connect(dial().near, { dialect: '9P2000.L' });
  await client.mkdir('web');
  const ctl = await client.walk(['web', 'ctl']);
  await client.open(ctl, 'read-write');
  await client.write(ctl, 0, Buffer.from('tcp:a'));
  let released: () => void = () => {};
  door.releasing = new Promise((resolve) => {
    released = resolve;
  });
  const flush = new AbortController();
  const removing = client.remove(await client.walk(['web']), flush.signal);
  await vi.waitUntil(() => door.events.includes('release tcp:a'));
  flush.abort();
  // With the release still under way: nothing else could end the wait but its limit.
  await removing;
  await expect(client.walk(['web'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
  released();
  client.close();
  await server.close();
});

it('an empty write is no request', async () => {
  const { root, door } = growing();
  root.makeDirectory('web');
  const ctl = ctlOf(root, 'web').open(RW);
  expect(await ctl.write(0, new Uint8Array(0), quiet)).toBe(0);
  expect(await ctl.write(0, Buffer.from('tcp:a'), quiet)).toBe(5);
  expect(door.asked).toHaveLength(1);
});

it('close releases everything and takes no more', async () => {
  const { root, tree, door } = growing();
  for (const name of ['a', 'b']) {
    root.makeDirectory(name);
    await ctlOf(root, name)
      .open(RW)
      .write(0, Buffer.from(`tcp:${name}`), quiet);
  }
  root.makeDirectory('idle');
  await tree.close();
  expect([...door.bound]).toEqual([]);
  expect(tree.entries.used).toBe(0);
  expect(() => root.makeDirectory('c')).toThrow(expect.objectContaining({ code: 'LIMIT_REACHED' }));
});
