import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SpareCells } from '../../../host-agent/data/linux/spare-cells.ts';
import { MAX_SPARES } from '../../../shared/link/spare-wish.ts';

describe('SpareCells', () => {
  it('hands out each descriptor once, whichever thread looks, and takes as many as there is room for', () => {
    const near = new SpareCells(2);
    const far = new SpareCells(2, near.cells);
    const put = Array.from({ length: MAX_SPARES }, (_, fd) => fd);
    for (const fd of put) expect(near.push(fd)).toBe(true);
    expect(near.push(1_000)).toBe(false);
    const got = put.map((_, index) => (index % 2 === 0 ? near : far).pop());
    expect(got.toSorted((a, b) => a - b)).toEqual(put);
    expect([near.pop(), far.pop()]).toEqual([-1, -1]);
  });

  it('keeps what was put down and not taken, through any sequence', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat({ max: 5_000 }), { nil: undefined })), (steps) => {
        const cells = new SpareCells(1);
        const model: number[] = [];
        for (const fd of steps) {
          if (fd === undefined) {
            const got = cells.pop();
            expect(got).toBe(got < 0 ? -1 : model.splice(model.indexOf(got), 1)[0]);
            if (got < 0) expect(model).toEqual([]);
          } else if (cells.push(fd)) model.push(fd);
          else expect(model.length).toBe(MAX_SPARES);
        }
      }),
    );
  });

  it('takes nothing when it is closed, and gives what it has', () => {
    const cells = new SpareCells(1);
    cells.push(7);
    new SpareCells(1, cells.cells).close();
    expect(cells.closed).toBe(true);
    expect(cells.push(8)).toBe(false);
    expect([cells.pop(), cells.pop()]).toEqual([7, -1]);
  });

  it('knows where most clients wait', () => {
    const cells = new SpareCells(3);
    expect([cells.waiting, cells.neediest]).toEqual([0, -1]);
    for (const worker of [1, 2, 2]) cells.wait(worker);
    expect([cells.waiting, cells.neediest]).toEqual([3, 2]);
    cells.forget(2);
    expect([cells.waiting, cells.neediest]).toEqual([1, 1]);
    cells.leave(1);
    cells.leave(1); // one on its way to somebody who has gone meanwhile
    expect([cells.waiting, cells.neediest]).toEqual([0, -1]);
    cells.wait(1);
    expect([cells.waiting, cells.neediest]).toEqual([0, -1]);
  });
});
