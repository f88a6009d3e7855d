import { beforeEach, describe, expect, it } from 'vitest';
import { PathSpares, type SpareClient } from '../../../host-agent/data/linux/path-spares.ts';
import { SpareCells } from '../../../host-agent/data/linux/spare-cells.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';

const WORKER = 1;

/** Remembers what became of it. */
class Client implements SpareClient {
  fate: string | undefined;

  served(fd: number): void {
    this.fate = `served ${fd}`;
  }

  denied(errno: number): void {
    this.fate = `denied ${errno}`;
  }
}

let dead: Set<number>;
let closed: number[];
let shorts: number;
let cells: SpareCells;
let spares: PathSpares;
let reactor: Reactor;
beforeEach(() => {
  [dead, closed, shorts] = [new Set(), [], 0];
  cells = new SpareCells(2);
  spares = new PathSpares(new SpareCells(2, cells.cells), WORKER, () => {
    shorts++;
  });
  reactor = {
    own: () => {},
    close: (fd: number) => void closed.push(fd),
    sockets: { isSilent: (fd: number) => !dead.has(fd) },
  } as unknown as Reactor;
});

describe('PathSpares', () => {
  it('takes one that lives, and closes those that do not', () => {
    for (const fd of [5, 6]) cells.push(fd);
    dead.add(5);
    expect(spares.take(reactor, new Client())).toBe(6);
    expect([closed, cells.waiting]).toEqual([[5], 0]);
  });

  it('has clients wait in turn, and gives back what nobody waits for', () => {
    const [first, second] = [new Client(), new Client()];
    for (const client of [first, second]) expect(spares.take(reactor, client)).toBe('waits');
    expect([cells.waiting, cells.neediest, shorts]).toEqual([2, WORKER, 2]);
    // Whoever gives one takes its client out of the count.
    cells.leave(WORKER);
    expect(spares.serve(reactor, 7)).toBe(true);
    expect([first.fate, second.fate, cells.waiting]).toEqual(['served 7', undefined, 1]);
    spares.leave(second);
    expect(cells.waiting).toBe(0);
    cells.leave(WORKER);
    expect([spares.serve(reactor, 8), cells.waiting]).toEqual([false, 0]);
  });

  it('tells those who wait that the link is over, and those who come later at once', () => {
    const client = new Client();
    expect(spares.take(reactor, client)).toBe('waits');
    cells.close();
    spares.close();
    expect([client.fate, cells.waiting]).toEqual(['denied 103', 0]);
    // A worker may still have the path when it has been told already: nobody would tell it again.
    const late = new Client();
    expect(spares.take(reactor, late)).toBe('over');
    expect([late.fate, cells.waiting]).toEqual([undefined, 0]);
  });
});
