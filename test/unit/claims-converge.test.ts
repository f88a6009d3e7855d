/** Both ends of the claims of a link, joined by one that is lost at any moment, without sockets or processes. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../shared/logger.ts';
import type { PortClaim } from '../../shared/portfs/door.ts';
import { ClaimBook } from '../../vm-shim/control/claim-book.ts';
import { FakeHost, join, turn, type Wire } from '../helpers/claim-wire.ts';

const { signal } = new AbortController();
const spec = (hostPort: number): string => `tcp:127.0.0.1:${hostPort}:tcp:10.0.0.1:80`;
const newBook = (answerMs?: number) =>
  new ClaimBook({ log: silentLogger(), ...(answerMs === undefined ? {} : { answerMs }) });
const settle = async (): Promise<void> => {
  for (let i = 0; i < 40; i++) await turn();
};

afterEach(() => vi.useRealTimers());

type Step =
  | { readonly do: 'claim'; readonly port: number }
  | { readonly do: 'release'; readonly which: number }
  | { readonly do: 'link' | 'cut' | 'restart' | 'turn' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('claim' as const), port: fc.constantFrom(0, 0, 1, 2) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat({ max: 9 }) }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constantFrom('link' as const, 'cut', 'restart', 'turn', 'turn') }),
  },
);

describe('claims over a link', () => {
  it('whatever is lost on the way, in the end the host has what is held in the VM, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const book = newBook(60_000);
        const held = new Set<PortClaim>();
        const asked: Promise<unknown>[] = [];
        let host = new FakeHost();
        let instance = 'host-0';
        let wire: Wire | undefined;
        const link = (): void => {
          wire?.cut();
          wire = join(book, 'shim', host, instance);
        };
        for (const [index, each] of steps.entries()) {
          if (each.do === 'claim') {
            asked.push(
              book.claim(spec(each.port), signal).then(
                (claim) => held.add(claim),
                () => {},
              ),
            );
          } else if (each.do === 'release') {
            const claim = [...held][each.which];
            if (claim === undefined) continue;
            held.delete(claim);
            void claim.release();
          } else if (each.do === 'link') link();
          else if (each.do === 'cut') wire?.cut();
          else if (each.do === 'turn') await turn();
          else {
            wire?.cut();
            host = new FakeHost();
            instance = `host-${index}`;
          }
        }
        link();
        await Promise.all(asked);
        await settle();
        expect(host.specs).toEqual([...held].map(({ resolved }) => resolved).sort());
        for (const claim of held) expect(claim.status()).toBe('published by the host agent');
        await Promise.all([...held].map((claim) => claim.release()));
        expect(host.specs).toEqual([]);
        expect(host.ports.size).toBe(0);
        wire?.cut();
      }),
      { numRuns: 150 },
    );
  });

  it('a set larger than one message is told in parts', async () => {
    const [book, host] = [newBook(), new FakeHost()];
    const first = join(book, 'shim', host, 'host');
    await Promise.all(Array.from({ length: 600 }, () => book.claim(spec(0), signal)));
    const before = host.specs;
    first.cut();
    const again = join(book, 'shim', host, 'host');
    await settle();
    expect(again.fromShim.map((message) => message.type === 'claims' && message.claims.length)).toEqual([
      256, 256, 88,
    ]);
    expect(host.specs).toEqual(before);
    again.cut();
  });

  it('a refusal comes in the words of the host, and is not asked for again', async () => {
    const [book, host] = [newBook(), new FakeHost()];
    host.ports.add(1);
    const wire = join(book, 'shim', host, 'host');
    await expect(book.claim(spec(1), signal)).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: 'Bind for 127.0.0.1:1 failed: port is already allocated',
    });
    await expect(book.claim('tcp:nonsense', signal)).rejects.toMatchObject({ code: 'BAD_SPEC' });
    expect(wire.fromShim.map(({ type }) => type)).toEqual(['claims', 'claim']);
  });

  it('a claim that is given up before its answer is dropped', async () => {
    const [book, host] = [newBook(), new FakeHost()];
    join(book, 'shim', host, 'host');
    const giveUp = new AbortController();
    const claim = book.claim(spec(0), giveUp.signal);
    await turn();
    giveUp.abort();
    await expect(claim).rejects.toMatchObject({ code: 'CANCELLED' });
    await settle();
    expect(host.ports.size).toBe(0);
  });

  it('without a link for as long as an answer may take, it says so, and forgets the wish', async () => {
    const [book, host] = [newBook(20), new FakeHost()];
    await expect(book.claim(spec(0), signal)).rejects.toMatchObject({ code: 'NO_LINK' });
    join(book, 'shim', host, 'host');
    await settle();
    expect(host.specs).toEqual([]);
  });

  it('claims outlive a lost link for the grace period, and no longer', async () => {
    const [book, host] = [newBook(), new FakeHost(30_000)];
    const wire = join(book, 'shim', host, 'host');
    const claim = await book.claim(spec(0), signal);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    wire.cut();
    vi.advanceTimersByTime(29_999);
    await settle();
    expect(host.specs).toEqual([claim.resolved]);
    expect(claim.status()).toBe('waiting for the link to the host agent');
    vi.advanceTimersByTime(1);
    await settle();
    expect(host.ports.size).toBe(0);
    // The holder is still there, and so is its port when the link is back.
    join(book, 'shim', host, 'host');
    await settle();
    expect(host.specs).toEqual([claim.resolved]);
  });

  it('a link that is back in time keeps them past the grace period', async () => {
    const [book, host] = [newBook(), new FakeHost(30_000)];
    const wire = join(book, 'shim', host, 'host');
    const claim = await book.claim(spec(0), signal);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    wire.cut();
    vi.advanceTimersByTime(29_000);
    join(book, 'shim', host, 'host');
    vi.advanceTimersByTime(60_000);
    await settle();
    expect(host.specs).toEqual([claim.resolved]);
  });

  it('another instance of the shim ends the claims of the last one, and can have their ports at once', async () => {
    const host = new FakeHost();
    const old = newBook();
    const wire = join(old, 'old', host, 'host');
    await old.claim(spec(1), signal);
    await old.claim(spec(2), signal);
    wire.cut();
    const next = newBook();
    join(next, 'next', host, 'host');
    const claim = await next.claim(spec(1), signal);
    await settle();
    expect(host.specs).toEqual([claim.resolved]);
  });

  it('many claims that end at once are closed a few at a time, before those of the next instance are opened', async () => {
    const host = new FakeHost();
    const old = newBook();
    const wire = join(old, 'old', host, 'host');
    await Promise.all(Array.from({ length: 300 }, () => old.claim(spec(0), signal)));
    wire.cut();
    const next = newBook();
    join(next, 'next', host, 'host');
    const claim = next.claim(spec(40_000), signal);
    const left: number[] = [];
    while (host.specs.length > 1) {
      left.push(host.specs.length);
      await turn();
    }
    expect(left.every((count, index) => (left[index - 1] ?? 300) - count <= 32)).toBe(true);
    expect(left.length).toBeGreaterThan(9);
    const { resolved } = await claim;
    expect(host.specs).toEqual([resolved]);
  });

  it('another host agent takes them over from one whose link is still up', async () => {
    const [book, one, two] = [newBook(), new FakeHost(), new FakeHost()];
    join(book, 'shim', one, 'one');
    const claim = await book.claim(spec(1), signal);
    join(book, 'shim', two, 'two');
    await settle();
    expect([one.specs, two.specs]).toEqual([[], [claim.resolved]]);
  });

  it('what somebody removes on the host is not asked for again', async () => {
    const [book, host] = [newBook(), new FakeHost()];
    const wire = join(book, 'shim', host, 'host');
    const claim = await book.claim(spec(1), signal);
    await host.table.release(host.table.list()[0]!);
    await settle();
    expect(claim.status()).toBe(`not published: ${spec(1)} was removed on the host`);
    wire.cut();
    join(book, 'shim', host, 'host');
    await settle();
    expect(host.specs).toEqual([]);
    await claim.release();
  });
});
