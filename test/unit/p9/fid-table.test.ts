import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Limit } from '../../../shared/limit.ts';
import { closeFid, FidTable } from '../../../shared/p9/fid-table.ts';
import type { File, Node } from '../../../shared/p9/filesystem.ts';
import { NO_FID } from '../../../shared/p9/types.ts';
import { MemoryFilesystem } from './memory-filesystem.ts';

const root: Node = new MemoryFilesystem().attach('', '');

it('says which fid is unknown, in use, reserved or misused', () => {
  const table = new FidTable(new Limit('fids', 10), new Limit('all fids', 10));
  table.add(1, root);
  expect(() => table.get(2)).toThrow('fid not found');
  expect(() => table.add(1, root)).toThrow('fid already in use');
  expect(() => table.add(NO_FID, root)).toThrow('bad use of fid');
  expect(() => table.remove(2)).toThrow('fid not found');
  expect(() => table.replace(2, { kind: 'node', node: root })).toThrow('fid not found');
  const file = new MemoryFilesystem().attach('', '').walk('hello') as File;
  const access = { read: true, write: false, truncate: false };
  table.replace(1, { kind: 'file', node: file, file: file.open(access), access });
  expect(() => table.unopened(1)).toThrow('bad use of fid');
  expect(() => table.directory(1)).toThrow('not a directory');
});

it('never holds more than its limit and counts what it refused', () => {
  const limit = new Limit('fids', 2);
  const table = new FidTable(limit, new Limit('all fids', 10));
  table.add(1, root);
  table.add(2, root);
  expect(() => table.add(3, root)).toThrow('Too many open files');
  expect([limit.used, limit.refused]).toEqual([2, 1]);
  table.remove(1);
  table.add(3, root);
  expect(table.size).toBe(2);
});

it('shares the other limit with the tables of other sessions', () => {
  const all = new Limit('all fids', 3);
  const [one, other] = [new FidTable(new Limit('fids', 2), all), new FidTable(new Limit('fids', 2), all)];
  one.add(1, root);
  one.add(2, root);
  other.add(1, root);
  expect(() => other.add(2, root)).toThrow('Too many open files in system');
  expect([all.used, all.refused]).toEqual([3, 1]);
  one.removeAll();
  other.add(2, root);
  expect(all.used).toBe(2);
});

it('behaves as a map of numbers, and the limit counts exactly what is in it', () => {
  const action = fc.record({ add: fc.boolean(), number: fc.nat({ max: 5 }) });
  fc.assert(
    fc.property(fc.array(action), (actions) => {
      const limit = new Limit('fids', 4);
      const all = new Limit('all fids', 10);
      const table = new FidTable(limit, all);
      const model = new Set<number>();
      for (const { add, number } of actions) {
        let done = true;
        try {
          if (add) table.add(number, root);
          else table.remove(number);
        } catch {
          done = false;
        }
        expect(done).toBe(add ? !model.has(number) && model.size < 4 : model.has(number));
        if (done && add) model.add(number);
        if (done && !add) model.delete(number);
        expect([limit.used, all.used]).toEqual([model.size, model.size]);
      }
      expect(table.removeAll()).toHaveLength(model.size);
      expect([limit.used, all.used]).toEqual([0, 0]);
    }),
  );
});

it('closes what a fid had open, and nothing for one that was only walked', async () => {
  const filesystem = new MemoryFilesystem();
  const file = filesystem.attach('', '').walk('hello') as File;
  await closeFid({ kind: 'node', node: file });
  expect(filesystem.events).toEqual([]);
  const access = { read: true, write: false, truncate: false };
  await closeFid({ kind: 'file', node: file, file: file.open(access), access });
  expect(filesystem.events).toEqual(['open hello r', 'close hello']);
});
