import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { type PortRange, portCount } from '../../../shared/port-range.ts';
import { type Attempt, EPHEMERAL, PortAllocator, takeFrom } from '../../../shared/ports/allocator.ts';

const RANGE: PortRange = { first: 50_000, last: 50_009 };

/** Ports that somebody has; taking one of them fails in its name. */
class Taken {
  readonly ports: Set<number>;
  readonly tried: number[] = [];

  constructor(ports: Iterable<number> = []) {
    this.ports = new Set(ports);
  }

  /** A search for `count` ports; those that are found are taken from then on. */
  search(count: number) {
    const take = async (first: number): Promise<Attempt<number>> => {
      this.tried.push(first);
      for (let port = first; port < first + count; port++)
        if (this.ports.has(port)) return { failed: new BridgeError('PORT_IN_USE', `${port}`), port };
      for (let port = first; port < first + count; port++) this.ports.add(port);
      return { taken: first };
    };
    return { what: '127.0.0.1:0', count, take };
  }
}

describe('PortAllocator', () => {
  it('begins somewhere in its range, which is the ephemeral one unless told', async () => {
    for (const random of [0, 0.5, 0.999_999]) {
      const port = await new PortAllocator(EPHEMERAL, random).allocate(new Taken().search(1));
      expect(port).toBe(49_153 + Math.floor(random * 16_383));
    }
    const port = await new PortAllocator().allocate(new Taken().search(1));
    expect(port).toBeGreaterThanOrEqual(49_153);
    expect(port).toBeLessThanOrEqual(65_535);
  });

  it('does not hand out again what was just given back, but goes round', async () => {
    const taken = new Taken();
    const allocator = new PortAllocator(RANGE, 0.75);
    const ports: number[] = [];
    for (let i = 0; i < 11; i++) {
      const port = await allocator.allocate(taken.search(1));
      taken.ports.delete(port);
      ports.push(port - RANGE.first);
    }
    expect(ports).toEqual([7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('passes by what is taken, and finds ports in a row', async () => {
    const taken = new Taken([50_001, 50_005]);
    const allocator = new PortAllocator(RANGE, 0);
    expect(await allocator.allocate(taken.search(3))).toBe(50_002);
    expect(await allocator.allocate(taken.search(4))).toBe(50_006);
    expect(await allocator.allocate(taken.search(1))).toBe(50_000);
  });

  it('two who ask at once are led to different ports', async () => {
    const taken = new Taken();
    const allocator = new PortAllocator(RANGE, 0);
    const both = [allocator.allocate(taken.search(5)), allocator.allocate(taken.search(5))];
    expect(await Promise.all(both)).toEqual([50_000, 50_005]);
    expect(taken.tried).toEqual([50_000, 50_005]);
  });

  it.each([
    [1, 'no port is free in 50000-50009'],
    [3, 'no 3 ports in a row are free in 50000-50009'],
    [11, 'no 11 ports in a row are free in 50000-50009'],
  ])('names its range when %i cannot be had', async (count, text) => {
    const taken = new Taken(Array.from({ length: 10 }, (_, i) => RANGE.first + i));
    if (count === 3) for (const port of [50_000, 50_001, 50_003, 50_004]) taken.ports.delete(port);
    await expect(new PortAllocator(RANGE).allocate(taken.search(count))).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `Bind for 127.0.0.1:0 failed: ${text}`,
    });
  });

  it('finds ports in a row whenever there are some, wherever it begins, and tries each place once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 0, max: 19 })),
        fc.integer({ min: 1, max: 6 }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        async (busy, count, random) => {
          const range = { first: 60_000, last: 60_019 };
          const taken = new Taken(busy.map((offset) => range.first + offset));
          const fits = (first: number) =>
            first + count - 1 <= range.last &&
            Array.from({ length: count }, (_, i) => first + i).every((port) => !taken.ports.has(port));
          const free = Array.from({ length: portCount(range) }, (_, i) => range.first + i).filter(fits);
          const found = await new PortAllocator(range, random)
            .allocate(taken.search(count))
            .catch(() => undefined);
          if (free.length === 0) expect(found).toBeUndefined();
          else expect(free).toContain(found);
          expect(new Set(taken.tried).size).toBe(taken.tried.length);
        },
      ),
    );
  });
});

describe('takeFrom', () => {
  it('takes the first that is free', async () => {
    const taken = new Taken([50_000, 50_002]);
    expect(await takeFrom(RANGE, taken.search(1))).toBe(50_001);
    expect(await takeFrom(RANGE, taken.search(1))).toBe(50_003);
  });

  it('passes by ports that are forbidden, and says so when all of them are', async () => {
    const denied = new BridgeError('PERMISSION_DENIED', 'not yours');
    const upTo = (last: number) => ({
      what: 'x',
      count: 1,
      take: async (first: number): Promise<Attempt<number>> =>
        first <= last ? { failed: denied, port: first } : { taken: first },
    });
    expect(await takeFrom(RANGE, upTo(50_004))).toBe(50_005);
    await expect(takeFrom(RANGE, upTo(50_009))).rejects.toBe(denied);
  });

  it('ends at once for any other reason', async () => {
    const gone = new BridgeError('ADDRESS_NOT_AVAILABLE', 'no such address');
    const tried: number[] = [];
    const take = async (first: number): Promise<Attempt<number>> => {
      tried.push(first);
      return { failed: gone, port: first };
    };
    await expect(takeFrom(RANGE, { what: 'x', count: 1, take })).rejects.toBe(gone);
    expect(tried).toEqual([50_000]);
  });
});
