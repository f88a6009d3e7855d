import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DirectoryCursor } from '../../../shared/p9/directory-cursor.ts';
import { decodeDirents } from '../../../shared/p9/dirent-codec.ts';
import type { Directory } from '../../../shared/p9/filesystem.ts';
import { decodeStats } from '../../../shared/p9/stat-codec.ts';
import { MemoryFilesystem } from './memory-filesystem.ts';

const NAMES = ['hello', 'slow', 'stubborn', 'broken', 'deep'];

function cursor() {
  const filesystem = new MemoryFilesystem();
  return { filesystem, cursor: new DirectoryCursor(filesystem.attach('', '')) };
}

function* statPages(reading: DirectoryCursor, count: number): Iterable<string[]> {
  for (let offset = 0; ; ) {
    const page = reading.readStats(offset, count, '9P2000');
    if (page.length === 0) return;
    offset += page.length;
    yield decodeStats(page, '9P2000').map(({ name }) => name);
  }
}

function* entryPages(reading: DirectoryCursor, count: number): Iterable<string[]> {
  for (let cookie = 0n; ; ) {
    const page = decodeDirents(reading.readEntries(cookie, count));
    if (page.length === 0) return;
    cookie = page.at(-1)!.cookie;
    yield page.map(({ name }) => name);
  }
}

describe.each(['9P2000', '9P2000.u'] as const)('stats of %s', (dialect) => {
  it.each([100, 128, 200, 1000])('come whole in pages of %i bytes', (count) => {
    const { cursor: reading } = cursor();
    const names: string[] = [];
    let offset = 0;
    for (;;) {
      const page = reading.readStats(offset, count, dialect);
      expect(page.length).toBeLessThanOrEqual(count);
      if (page.length === 0) break;
      names.push(...decodeStats(page, dialect).map(({ name }) => name));
      offset += page.length;
    }
    expect(names).toEqual(NAMES);
  });

  it('may only be read onwards or from the start', () => {
    const { cursor: reading } = cursor();
    expect(() => reading.readStats(1, 1000, dialect)).toThrow('bad offset in directory read');
    const page = reading.readStats(0, 100, dialect);
    expect(() => reading.readStats(page.length - 1, 1000, dialect)).toThrow('bad offset in directory read');
    expect(reading.readStats(0, 100, dialect)).toEqual(page);
    expect(decodeStats(reading.readStats(page.length, 1000, dialect), dialect)[0]?.name).toBe('slow');
  });

  it('a page too small for one is an error at the start and empty later, after which reading goes on', () => {
    const { cursor: reading } = cursor();
    expect(() => reading.readStats(0, 20, dialect)).toThrow('Invalid argument');
    const page = reading.readStats(0, 100, dialect);
    expect(reading.readStats(page.length, 20, dialect)).toHaveLength(0);
    expect(decodeStats(reading.readStats(page.length, 1000, dialect), dialect)[0]?.name).toBe('slow');
  });

  it('go on behind the last one, also when that is gone', () => {
    const { filesystem, cursor: reading } = cursor();
    const first = reading.readStats(0, 100, dialect);
    filesystem.delete('hello');
    filesystem.add('late');
    const rest = decodeStats(reading.readStats(first.length, 1000, dialect), dialect).map(({ name }) => name);
    expect(rest).toEqual([...NAMES.slice(1), 'late']);
    const again = decodeStats(reading.readStats(0, 1000, dialect), dialect).map(({ name }) => name);
    expect(again).toEqual(rest);
  });
});

const change = fc.record({ add: fc.boolean(), name: fc.constantFrom('a', 'b', 'c', 'hello', 'deep') });
const PAGES = { '9P2000': statPages, '9P2000.L': entryPages };

it.each(['9P2000', '9P2000.L'] as const)(
  '%s: what is there all the while is read once, whatever comes and goes',
  (dialect) => {
    fc.assert(
      fc.property(fc.array(change), fc.integer({ min: 70, max: 300 }), (changes, count) => {
        const { filesystem, cursor: reading } = cursor();
        const names: string[] = [];
        const left = [...changes];
        for (const page of PAGES[dialect](reading, count)) {
          names.push(...page);
          const next = left.pop();
          if (next?.add) filesystem.add(next.name);
          else if (next !== undefined) filesystem.delete(next.name);
        }
        const touched = new Set<string>(changes.map(({ name }) => name));
        const stayed = NAMES.filter((name) => !touched.has(name));
        expect(names.filter((name) => stayed.includes(name))).toEqual(stayed);
      }),
    );
  },
);

it.each(['9P2000', '9P2000.L'] as const)(
  '%s: no more children are made than the page has, and one',
  (dialect) => {
    let made = 0;
    const file = new MemoryFilesystem().attach('', '').walk('hello');
    const many: Directory = {
      ...new MemoryFilesystem().attach('', ''),
      *list(after) {
        for (let path = 1n; path <= 10_000n; path++) {
          if (path <= after) continue;
          made++;
          yield { ...file, qid: { type: 0, version: 0, path } };
        }
      },
    };
    let pages = 0;
    let shown = 0;
    for (const page of PAGES[dialect](new DirectoryCursor(many), 300)) {
      shown += page.length;
      if (++pages === 20) break;
    }
    expect(made).toBe(shown + pages - (dialect === '9P2000.L' ? 2 : 0));
  },
);

describe('entries of 9P2000.L', () => {
  it.each([40, 64, 1000])('come with . and .. in pages of %i bytes', (count) => {
    const { cursor: reading } = cursor();
    const names: string[] = [];
    let cookie = 0n;
    for (;;) {
      const page = decodeDirents(reading.readEntries(cookie, count));
      if (page.length === 0) break;
      names.push(...page.map(({ name }) => name));
      cookie = page.at(-1)?.cookie as bigint;
    }
    expect(names).toEqual(['.', '..', ...NAMES]);
  });

  it('go on after any cookie, also on a fresh fid, and end after the last', () => {
    const all = decodeDirents(cursor().cursor.readEntries(0n, 10_000));
    for (const [index, { cookie }] of all.entries()) {
      const rest = decodeDirents(cursor().cursor.readEntries(cookie, 10_000));
      expect(rest.map(({ name }) => name)).toEqual(all.slice(index + 1).map(({ name }) => name));
    }
    expect(cursor().cursor.readEntries(0xffff_ffff_ffff_ffffn, 1000)).toHaveLength(0);
  });

  it('a page too small for the next one is an error and not the end', () => {
    expect(() => cursor().cursor.readEntries(0n, 20)).toThrow('Invalid argument');
    expect(() => cursor().cursor.readEntries(3n, 20)).toThrow('Invalid argument');
  });

  it('carry the types and qids of what they name', () => {
    const { filesystem, cursor: reading } = cursor();
    const root = filesystem.attach('', '');
    const entries = decodeDirents(reading.readEntries(0n, 10_000));
    for (const { name, qid, type } of entries.slice(2)) {
      const node = root.walk(name);
      expect([qid, type]).toEqual([node.qid, node.kind === 'directory' ? 4 : 8]);
    }
    expect(entries[0]?.qid).toEqual(root.qid);
    expect(entries[1]?.qid).toEqual(root.qid);
  });
});
